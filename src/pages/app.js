// What needs a script on the two pages: the heads of the table sort it, the filter hides what does not have all of its
// words, and every ten seconds the page takes over what has changed, unless it is in the background or text in it is
// selected. Without scripts the page stays as it came.
(function () {
  'use strict';

  const REFRESH_MILLISECONDS = 10000;
  const bar = document.querySelector('.bar');
  const [filterBox, liveBox] = bar.querySelectorAll('input');
  const shown = bar.querySelector('span');
  const summary = document.querySelector('h1 + span');
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

  function showSummary(className, text) {
    summary.className = className;
    if (summary.textContent !== text) summary.textContent = text;
  }

  // Takes over what a newer copy of this page says.
  function update(html) {
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
    }
  }

  function refresh() {
    if (!liveBox.checked || document.hidden || !getSelection().isCollapsed) return;
    fetch(location.pathname)
      .then(function (response) {
        if (!response.ok) throw response;
        return response.text();
      })
      .then(update)
      .catch(() => showSummary('chip down', 'No answer from the exporter'));
  }

  setInterval(refresh, REFRESH_MILLISECONDS);
  filterBox.oninput = filter;
  bar.hidden = false;
  addSortButtons();
})();
