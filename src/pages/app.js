// What needs a script on the two pages: the heads of the table or the list of orders sort, the filter hides what does not
// have all of its words, and every ten seconds the page takes over what has changed, unless it is in the background or text
// in it is selected. The pages show the traffic that they saw meanwhile. The address keeps filter and order for a bookmark.
// Without scripts the page stays as it came. Nothing here asks for the layout, and all work is linear but for the sorting.
(function () {
  'use strict';

  const REFRESH_MILLISECONDS = 10000;
  // A rate is that of a minute, since OpenVPN writes its status once a minute: so many looks and the one before.
  const LOOKS_OF_RATE = 7;
  const isTable = location.pathname === '/static';
  // The most looks that are remembered: on the overview for a line of ten minutes.
  const MOST_LOOKS = isTable ? LOOKS_OF_RATE : 60;
  const bar = document.querySelector('.bar');
  const filterBox = bar.querySelector('[name=q]');
  const liveBox = bar.querySelector('[type=checkbox]');
  const orderBox = bar.querySelector('select');
  const shown = bar.querySelector('span');
  const summary = document.querySelector('h1 + span');
  const compare = new Intl.Collator(undefined, { numeric: true }).compare;
  const query = new URLSearchParams(location.search);
  // The times of the looks in seconds; and for each name the bytes received and sent at the last of them.
  const times = [];
  let traffic = new Map();
  let items = [];
  let isAsking = false;
  let order = query.get('sort') || '';
  let isDescending = query.get('dir') === 'desc';

  const all = (selector) => Array.from(document.querySelectorAll(selector));

  function element(name, text, className) {
    const made = document.createElement(name);
    made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  function scaled(value, base, units) {
    let power = 0;
    while (value >= base && power < units.length - 1) {
      value /= base;
      power += 1;
    }
    return `${value.toFixed(power ? 1 : 0)} ${units[power]}`;
  }

  const sizeText = (bytes) => scaled(bytes, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']);
  const rateText = (bytes) => scaled(bytes, 1000, ['B/s', 'kB/s', 'MB/s', 'GB/s']);

  // What is asked of a row or an entry: its place, name, text, and bytes received and sent.
  function read(node, place) {
    const text = node.textContent.toLowerCase();
    if (isTable) {
      const cells = Array.from(node.cells);
      const name = [0, 3, 4, 8, 9].map((cell) => cells[cell].textContent).join('|');
      return { node, place, name, text, bytes: [6, 7].map((cell) => Number(cells[cell].dataset.sort || NaN)) };
    }
    const source = node.closest('section').querySelector('h2').textContent;
    const name = `${source} ${node.querySelector('code').textContent}`;
    return { node, place, name, text: `${source} ${text}`, bytes: [Number(node.dataset.in || NaN), Number(node.dataset.out)] };
  }

  function sortKey({ node, place, name, rate }) {
    if (order === 'Rate') return String(Math.round(rate || 0));
    if (isTable) {
      const cell = node.querySelector(`[data-name="${CSS.escape(order)}"]`);
      return cell ? cell.dataset.sort || (cell.querySelector('bdi') || cell).textContent : '';
    }
    if (order === 'Since') return node.querySelector('.soft') ? node.querySelector('.soft').textContent.slice(-19) : '';
    return order ? name : String(place);
  }

  function sort() {
    for (const head of all('th[data-name]')) {
      const isSorted = head.dataset.name === order;
      head.setAttribute('aria-sort', isSorted ? (isDescending ? 'descending' : 'ascending') : 'none');
    }
    const direction = isDescending ? -1 : 1;
    for (const item of items) item.key = sortKey(item);
    items.sort((a, b) => direction * compare(a.key, b.key) || a.place - b.place);
    for (const { node } of items) node.parentNode.append(node);
  }

  function filter() {
    const words = filterBox.value.toLowerCase().split(' ');
    const lists = new Set();
    const [bytes, rates] = [[0, 0], [0, 0]];
    let [count, hasRates] = [0, false];
    for (const item of items) {
      item.node.hidden = !words.every((word) => item.text.includes(word));
      if (item.node.hidden) continue;
      lists.add(item.node.parentNode);
      count += 1;
      hasRates = hasRates || Boolean(item.rates);
      for (const way of [0, 1]) {
        bytes[way] += item.bytes[way] || 0;
        rates[way] += item.rates ? item.rates[way] : 0;
      }
    }
    for (const list of all('section ul')) list.parentNode.hidden = !lists.has(list);
    shown.textContent = filterBox.value ? `${count} of ${items.length} shown` : '';
    const total = document.querySelector('tfoot tr');
    if (!total) return;
    total.cells[0].textContent = `${count === items.length ? '' : `${count} of `}${items.length} session${items.length === 1 ? '' : 's'}`;
    for (const way of [0, 1]) total.cells[way + 1].textContent = sizeText(bytes[way]);
    total.cells[4].replaceChildren(hasRates ? rateLines(rates) : '');
  }

  // Keeps filter and order in the address.
  function remember() {
    for (const [key, value] of [['q', filterBox.value], ['sort', order], ['dir', isDescending ? 'desc' : '']]) {
      if (value) query.set(key, value); else query.delete(key);
    }
    history.replaceState(null, '', location.pathname + (String(query) && `?${query}`));
  }

  function sortBy(name, descending) {
    order = name;
    isDescending = descending;
    sort();
    remember();
  }

  // Makes each head of the table a button that sorts by its column, and adds the column of the rates.
  function prepareTable() {
    const heads = document.querySelector('thead tr');
    if (!heads) return;
    document.querySelector('colgroup').append(element('col', ''));
    document.querySelector('col:last-child').style.width = '10%';
    heads.append(element('th', 'Rate', 'number'));
    heads.lastChild.scope = 'col';
    heads.lastChild.title = 'over the last minute';
    for (const head of heads.cells) {
      const name = head.textContent;
      const button = element('button', name);
      button.type = 'button';
      button.onclick = () => sortBy(name, order === name ? !isDescending : name === 'Rate');
      head.dataset.name = name;
      head.replaceChildren(button);
    }
  }

  function rateLines([received, sent]) {
    const lines = element('div', '');
    lines.append(element('small', `in ${rateText(received)}`), element('small', `out ${rateText(sent)}`));
    return lines;
  }

  // The bytes that a look has more than the one before it; a counter that fell began anew.
  const growth = (before, look, way) => Math.max(0, look[way] - before[way]);

  // The rates of both ways over the last looks.
  function latestRates(looks) {
    const first = Math.max(0, looks.length - LOOKS_OF_RATE);
    const sums = [0, 0];
    for (let index = first + 1; index < looks.length; index += 1) {
      for (const way of [0, 1]) sums[way] += growth(looks[index - 1], looks[index], way);
    }
    const seconds = times.at(-1) - times.at(first - looks.length);
    return sums.map((sum) => sum / seconds);
  }

  // A line for the sum of both ways from look to look, as high as its highest value.
  function sparkline(looks) {
    const values = [];
    for (let index = 1; index < looks.length; index += 1) {
      const seconds = times.at(index - looks.length) - times.at(index - looks.length - 1);
      values.push((growth(looks[index - 1], looks[index], 0) + growth(looks[index - 1], looks[index], 1)) / seconds);
    }
    const highest = Math.max(...values, 1);
    const step = 600 / Math.max(1, values.length - 1);
    const points = values.map((value, index) => `${Math.round(index * step)},${Math.round(120 - 110 * value / highest)}`);
    const picture = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    picture.setAttribute('viewBox', '0 0 600 130');
    picture.setAttribute('aria-hidden', 'true');
    const line = document.createElementNS(picture.namespaceURI, 'polyline');
    line.setAttribute('points', points.join(' '));
    picture.append(line);
    return picture;
  }

  // Shows the traffic of each item whose name no other has; `asked` is when the exporter was asked, in seconds.
  function showTraffic(asked) {
    // Two looks at once give no rate.
    const isNew = !(asked - times.at(-1) < 1);
    if (isNew && times.push(asked) > MOST_LOOKS) times.shift();
    const named = new Map();
    for (const item of items) named.set(item.name, named.has(item.name) ? null : item);
    const before = traffic;
    traffic = new Map();
    for (const item of named.values()) {
      if (!item || isNaN(item.bytes[0])) continue;
      const looks = before.get(item.name) || [];
      if (isNew && looks.push(item.bytes) > MOST_LOOKS) looks.shift();
      traffic.set(item.name, looks);
      if (looks.length < 2) continue;
      item.rates = latestRates(looks);
      item.rate = item.rates[0] + item.rates[1];
    }
    for (const { node, name, rates } of items) {
      if (isTable) {
        const cell = element('td', '', 'number');
        cell.dataset.name = 'Rate';
        if (rates) cell.append(rateLines(rates));
        node.append(cell);
      } else if (rates) {
        const text = element('small', `in ${rateText(rates[0])}, out ${rateText(rates[1])}`, 'traffic');
        text.title = 'over the last minute, and the line over ten';
        text.append(sparkline(traffic.get(name)));
        node.querySelector('div').append(text);
      }
    }
    const total = document.querySelector('tfoot tr');
    if (total) {
      total.append(element('td', '', 'number'));
      total.cells[4].dataset.name = 'Rate';
    }
  }

  function showSummary(className, text) {
    summary.className = className;
    if (summary.textContent !== text) summary.textContent = text;
  }

  // Makes of what the exporter wrote what the page shows.
  function show(asked) {
    items = all('tbody tr, section li').map(read);
    showTraffic(asked);
    sort();
    filter();
  }

  // Takes over what a newer copy of this page says.
  function update(html, asked) {
    const page = new DOMParser().parseFromString(html, 'text/html');
    const hasTables = document.querySelector('tbody') && page.querySelector('tbody');
    for (const selector of hasTables ? ['#news', 'tbody', 'tfoot'] : ['main']) {
      document.querySelector(selector).replaceWith(page.querySelector(selector));
    }
    const newSummary = page.querySelector('h1 + span');
    showSummary(newSummary.className, newSummary.textContent);
    if (!hasTables) prepareTable();
    show(asked);
  }

  function refresh() {
    if (isAsking || !liveBox.checked || document.hidden || !getSelection().isCollapsed) return;
    const asked = performance.now() / 1000;
    const unfiltered = new URLSearchParams(query);
    unfiltered.delete('q');
    isAsking = true;
    fetch(`${location.pathname}?${unfiltered}`)
      .then(function (response) {
        if (!response.ok) throw response;
        return response.text();
      })
      .then((html) => update(html, asked))
      .catch(() => showSummary('chip down', 'No answer from the exporter'))
      .finally(() => { isAsking = false; });
  }

  for (const hidden of bar.querySelectorAll('[hidden]')) hidden.hidden = false;
  bar.onsubmit = () => false;
  filterBox.value = query.get('q') || '';
  filterBox.oninput = () => { filter(); remember(); };
  if (orderBox) {
    orderBox.value = order;
    orderBox.onchange = () => sortBy(orderBox.value, ['Rate', 'Since'].includes(orderBox.value));
  }
  prepareTable();
  show(0);
  // What came is filtered already.
  if (filterBox.value) refresh();
  setInterval(refresh, REFRESH_MILLISECONDS);
  document.onvisibilitychange = refresh;
})();
