// What needs a script on the two pages: the heads of the table sort it, the filter hides what does not have all of its
// words, and every ten seconds the page takes over what has changed, unless it is in the background or text in it is
// selected. The overview shows the traffic that it saw meanwhile. Without scripts the page stays as it came.
(function () {
  'use strict';

  const REFRESH_MILLISECONDS = 10000;
  const bar = document.querySelector('.bar');
  const [filterBox, liveBox] = bar.querySelectorAll('input');
  const shown = bar.querySelector('span');
  const summary = document.querySelector('h1 + span');
  // The last looks at the traffic of each thing: the time in seconds, bytes received, bytes sent.
  const MOST_LOOKS = 60;
  const traffic = new Map();
  let isAsking = false;
  let sortColumn = -1;
  let ascending = true;

  function sortKey(row) {
    const cell = row.cells[sortColumn];
    return cell.dataset.sort || (cell.querySelector('bdi') || cell).textContent;
  }

  function sort() {
    const body = document.querySelector('tbody');
    if (!body || sortColumn < 0) return;
    document.querySelectorAll('thead th').forEach(function (head, column) {
      if (column === sortColumn) {
        head.setAttribute('aria-sort', ascending ? 'ascending' : 'descending');
      } else {
        head.removeAttribute('aria-sort');
      }
    });
    const direction = ascending ? 1 : -1;
    Array.from(body.rows)
      .sort((a, b) => direction * sortKey(a).localeCompare(sortKey(b), undefined, { numeric: true }))
      .forEach((row) => body.appendChild(row));
  }

  function filter() {
    const words = filterBox.value.toLowerCase().split(' ');
    const items = Array.from(document.querySelectorAll('tbody tr, section li'));
    for (const item of items) {
      const text = item.textContent.toLowerCase();
      item.hidden = !words.every((word) => text.includes(word));
    }
    for (const section of document.querySelectorAll('section')) {
      section.hidden = section.querySelector('li') !== null && section.querySelector('li:not([hidden])') === null;
    }
    const visible = items.filter((item) => !item.hidden).length;
    shown.textContent = filterBox.value ? `${visible} of ${items.length} shown` : '';
  }

  // Makes each head of the table a button that sorts by its column.
  function addSortButtons() {
    document.querySelectorAll('thead th').forEach(function (head, column) {
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.onclick = function () {
        ascending = sortColumn !== column || !ascending;
        sortColumn = column;
        sort();
      };
    });
    sort();
    filter();
  }

  function rateText(bytes) {
    const units = ['B/s', 'kB/s', 'MB/s', 'GB/s'];
    const power = bytes < 1000 ? 0 : Math.min(3, Math.floor(Math.log10(bytes) / 3));
    return `${(bytes / 1000 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
  }

  // The rates between one look and the next, of bytes received or sent; a counter that fell began anew.
  function rates(looks, direction) {
    return looks.slice(1).map(function (look, index) {
      const before = looks[index];
      return Math.max(0, look[direction] - before[direction]) / (look[0] - before[0]);
    });
  }

  // A line for the sum of both directions, as high as its highest value.
  function sparkline(values) {
    const highest = Math.max(...values, 1);
    const step = 100 / Math.max(1, values.length - 1);
    const points = values.map((value, index) => `${(index * step).toFixed(1)},${(20 - 18 * value / highest).toFixed(1)}`);
    const picture = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    picture.setAttribute('viewBox', '0 0 100 21');
    picture.setAttribute('aria-hidden', 'true');
    const line = document.createElementNS(picture.namespaceURI, 'polyline');
    line.setAttribute('points', points.join(' '));
    picture.append(line);
    return picture;
  }

  // Shows the traffic of each thing since this page looked at it last, and how it was before; `asked` is the time in
  // seconds at which the exporter was asked.
  function showTraffic(asked) {
    const before = new Map(traffic);
    traffic.clear();
    for (const item of document.querySelectorAll('li[data-in]')) {
      const name = item.closest('section').querySelector('h2').textContent + item.querySelector('code').textContent;
      const looks = (before.get(name) || []).slice(1 - MOST_LOOKS);
      // Two looks at once, or a clock that was set back, give no rate.
      if (looks.length && asked - looks.at(-1)[0] < 1) looks.pop();
      looks.push([asked, Number(item.dataset.in), Number(item.dataset.out)]);
      traffic.set(name, looks);
      if (looks.length < 2) continue;
      const [received, sent] = [rates(looks, 1), rates(looks, 2)];
      const text = document.createElement('small');
      text.className = 'traffic';
      text.append(`in ${rateText(received.at(-1))}, out ${rateText(sent.at(-1))}`);
      text.append(sparkline(received.map((rate, index) => rate + sent[index])));
      item.querySelector('div').append(text);
    }
  }

  function showSummary(className, text) {
    summary.className = className;
    if (summary.textContent !== text) summary.textContent = text;
  }

  // Takes over what a newer copy of this page says.
  function update(html, asked) {
    const page = new DOMParser().parseFromString(html, 'text/html');
    const hasTables = document.querySelector('tbody') && page.querySelector('tbody');
    for (const selector of hasTables ? ['#news', 'tbody'] : ['main']) {
      document.querySelector(selector).replaceWith(page.querySelector(selector));
    }
    const newSummary = page.querySelector('h1 + span');
    showSummary(newSummary.className, newSummary.textContent);
    if (hasTables) {
      sort();
      filter();
    } else {
      addSortButtons();
      showTraffic(asked);
    }
  }

  function refresh() {
    if (isAsking || !liveBox.checked || document.hidden || !getSelection().isCollapsed) return;
    const asked = Date.now() / 1000;
    isAsking = true;
    fetch(location.pathname)
      .then(function (response) {
        if (!response.ok) throw response;
        return response.text();
      })
      .then((html) => update(html, asked))
      .catch(() => showSummary('chip down', 'No answer from the exporter'))
      .finally(() => { isAsking = false; });
  }

  setInterval(refresh, REFRESH_MILLISECONDS);
  filterBox.oninput = filter;
  bar.hidden = false;
  addSortButtons();
  showTraffic(Date.now() / 1000);
})();
