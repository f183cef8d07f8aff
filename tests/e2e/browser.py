"""A headless Chromium, spoken to through chromedriver in plain WebDriver: what a person would see of the pages."""

import base64
import contextlib
import json
import os
import pathlib

from exporter import fetch, free_port
from host import wait_for

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """One browser with an empty profile in the scratch folder; it ends with the lab."""

    def __init__(self, lab, host=None, name="browser"):
        self.lab, self.host = lab, host
        self.log_name = f"{name}/log"
        self.port = free_port(host)
        profile = os.path.dirname(lab.path(name, "profile", "-"))
        command = ("chromedriver", f"--port={self.port}")
        options = {"log": self.log_name, "env": {**os.environ, "HOME": profile}}
        self.process = host.start(*command, **options) if host else lab.start(command, **options)
        wait_for("chromedriver", self._ready)
        wishes = {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": [*FLAGS, f"--user-data-dir={profile}"]},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        self._session = ""
        self._session = "/session/" + self._call("POST", "/session", {"capabilities": {"alwaysMatch": wishes}})["sessionId"]
        lab.callback(self.close)

    def _ready(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"chromedriver ended:\n{self.lab.log(self.log_name)}")
        try:
            return json.loads(fetch(self.host, "127.0.0.1", self.port, "/status")[2])["value"]["ready"]
        except ConnectionError:
            return False

    def _call(self, method, path, content=None):
        body = None if content is None else json.dumps(content).encode()
        headers = {"Content-Type": "application/json"}
        status, _, answer = fetch(
            self.host, "127.0.0.1", self.port, (self._session if path != "/session" else "") + path, headers, method, body, 60.0
        )
        value = json.loads(answer)["value"]
        if status != 200:
            raise RuntimeError(f"{path}: {value['error']}: {value['message']}")
        return value

    def close(self):
        """Ends the browser itself; chromedriver goes with the lab, and takes a browser that hangs with it."""
        if self._session:
            with contextlib.suppress(OSError, RuntimeError):
                self._call("DELETE", "")
            self._session = ""

    def open(self, url):
        self._call("POST", "/url", {"url": url})

    def reload(self):
        self._call("POST", "/refresh", {})

    def url(self):
        return self._call("GET", "/url")

    def title(self):
        return self._call("GET", "/title")

    def source(self):
        return self._call("GET", "/source")

    def size(self, width, height):
        """The page's own size in CSS pixels, also one that no window could have."""
        self.developer(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    def screenshot(self, path):
        pathlib.Path(path).write_bytes(base64.b64decode(self._call("GET", "/screenshot")))

    def find(self, css):
        """The elements that a selector names, in the order of the page."""
        return [found[ELEMENT] for found in self._call("POST", "/elements", {"using": "css selector", "value": css})]

    def texts(self, css):
        """The text of each element, as shown: what is hidden is empty."""
        return [self._call("GET", f"/element/{element}/text") for element in self.find(css)]

    def text(self, css="body"):
        return "\n".join(self.texts(css))

    def shows(self, words):
        return words in self.text()

    def click(self, css):
        found = self.find(css)
        if not found:
            raise LookupError(f"nothing on the page is {css}")
        self._call("POST", f"/element/{found[0]}/click", {})

    def keys(self, text):
        """Presses keys one by one where the focus is; "\\ue004" is Tab, "\\ue007" is Enter."""
        presses = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": presses}]})

    def execute(self, script, *arguments):
        """Runs the body of a function in the page and returns what it returns."""
        return self._call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def developer(self, command, **parameters):
        """One command of the developer tools' protocol."""
        return self._call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def dark(self, wanted=True):
        """As a person who asked their system for dark (or light) colours."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if wanted else "light"}
        self.developer("Emulation.setEmulatedMedia", features=[feature])

    def javascript(self, wanted):
        """With or without scripts, from the next page on."""
        self.developer("Emulation.setScriptExecutionDisabled", value=not wanted)

    def dialog(self):
        """The text of an alert or question that the page has opened, None where there is none."""
        try:
            return self._call("GET", "/alert/text")
        except RuntimeError as error:
            if "no such alert" in str(error):
                return None
            raise

    def complaints(self):
        """What the page wrote to the console since the last call: errors, refused resources."""
        said = [entry["message"] for entry in self._call("POST", "/se/log", {"type": "browser"})]
        return [message for message in said if not message.startswith("chrome://")]
