"""A real Prometheus server that scrapes what a test gives it, and promtool's opinion of a text."""

import json
import subprocess
import urllib.parse

from exporter import fetch, free_port
from host import wait_for

SCRAPE = """\
global:
  scrape_interval: 1s
  scrape_timeout: 1s
  evaluation_interval: 1s
rule_files: {rules}
scrape_configs:
"""


def job(name, target, path, parameters=None, more=""):
    return f"""\
  - job_name: '{name}'
    metrics_path: '{path}'
    params: {json.dumps(parameters or {})}
    static_configs:
      - targets: ['{target}']
{more}"""


class Prometheus:
    """One server for `jobs` ({name: (target, path)}, or with {parameter: [value]} as a third and more settings of the job
    as a fourth) and files of rules, or for a whole configuration; its data is in the scratch folder, and it ends with
    the lab."""

    def __init__(self, lab, jobs, host=None, name="prometheus", rules=(), config=None):
        self.lab, self.host = lab, host
        self.log_name = f"{name}/log"
        self.port = free_port(host)
        scrape = SCRAPE.format(rules=json.dumps([str(path) for path in rules]))
        scrape += "".join(job(job_name, *where) for job_name, where in jobs.items())
        config = lab.write(f"{name}/config.yml", config or scrape)
        command = (
            "prometheus", f"--config.file={config}", f"--storage.tsdb.path={lab.path(name, 'data')}",
            f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn",
        )
        self.process = (host.start(*command, log=self.log_name) if host else lab.start(command, log=self.log_name))
        wait_for("Prometheus", self._ready)

    def _ready(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"Prometheus ended:\n{self.lab.log(self.log_name)}")
        try:
            return fetch(self.host, "127.0.0.1", self.port, "/-/ready")[0] == 200
        except ConnectionError:
            return False

    def _api(self, path):
        status, _, body = fetch(self.host, "127.0.0.1", self.port, "/api/v1/" + path)
        answer = json.loads(body)
        if status != 200 or answer["status"] != "success":
            raise RuntimeError(f"{path}: {body.decode()}")
        return answer["data"]

    def query(self, expression):
        """[(labels, value)] of an instant query; the value is the text that Prometheus holds."""
        data = self._api("query?" + urllib.parse.urlencode({"query": expression}))
        if data["resultType"] == "scalar":
            return [({}, data["result"][1])]
        return [(row["metric"], row["value"][1]) for row in data["result"]]

    def query_range(self, expression, start, end, step):
        """[(labels, [(time, value)])] between two Unix times."""
        asked = {"query": expression, "start": start, "end": end, "step": step}
        rows = self._api("query_range?" + urllib.parse.urlencode(asked))["result"]
        return [(row["metric"], [(moment, float(value)) for moment, value in row["values"]]) for row in rows]

    def raw(self, expression, moment):
        """[(labels, [(time, value)])] of a range of samples as they were scraped."""
        rows = self._api("query?" + urllib.parse.urlencode({"query": expression, "time": moment}))["result"]
        return [(row["metric"], row["values"]) for row in rows]

    def alerts(self):
        """[(labels, annotations)] of the alerts that fire or wait for their time."""
        return [(alert["labels"], alert["annotations"]) for alert in self._api("alerts")["alerts"]]

    def rules(self):
        """The groups of rules with the health of each rule."""
        return self._api("rules")["groups"]

    def targets(self):
        """{job: (health, last error)} of the latest scrape of each job."""
        active = self._api("targets?state=active")["activeTargets"]
        return {target["labels"]["job"]: (target["health"], target["lastError"]) for target in active}

    def await_up(self, job_name):
        """Waits for a first good scrape; a failing one tells why."""

        def scraped():
            health, error = self.targets().get(job_name, ("unknown", ""))
            if health == "down":
                raise RuntimeError(f"the scrape of {job_name} failed: {error}")
            return health == "up"

        wait_for(f"a scrape of {job_name}", scraped)

    def await_rows(self, expression, seconds=20.0):
        return wait_for(f"an answer to {expression}", lambda: self.query(expression), seconds)


def promtool_check(text):
    """What `promtool check metrics` finds wrong with a scrape, a line for each complaint."""
    body = text if isinstance(text, bytes) else text.encode()
    done = subprocess.run(("promtool", "check", "metrics"), input=body, capture_output=True)
    said = (done.stdout + done.stderr).decode().splitlines()
    if done.returncode != 0 and not said:
        said = [f"promtool ended with {done.returncode}"]
    return said
