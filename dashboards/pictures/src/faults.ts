/** What nobody could read in the picture. */

/** Text that is cut, legends of which a part is hidden, and panels without data. */
export function faults(): string[] {
  return [...document.querySelectorAll<HTMLElement>('[data-panel]')].flatMap((panel) =>
    [...new Set(faultsOf(panel))].map((fault) => `${panel.dataset.panel}: ${fault}`)
  );
}

function* faultsOf(panel: HTMLElement): Iterable<string> {
  if (panel.querySelector('.no-data')) {
    yield 'no data';
  }
  for (const element of panel.querySelectorAll<HTMLElement>('*')) {
    const style = getComputedStyle(element);
    const text = element.innerText?.trim();
    if (!text) {
      continue;
    }
    if (style.textOverflow === 'ellipsis' && element.scrollWidth > element.clientWidth + 1) {
      yield `cut: ${text}`;
    }
    const spans = element.children.length > 0 && [...element.children].every(({ tagName }) => tagName === 'SPAN');
    if (spans && element.closest('[role=cell]') && element.offsetHeight > 1.8 * parseFloat(style.fontSize)) {
      yield `in two lines: ${text}`;
    }
    if (element.scrollWidth > element.clientWidth + 1 && ['auto', 'scroll'].includes(style.overflowX)) {
      yield `columns are hidden: ${element.scrollWidth} of ${element.clientWidth} px`;
    }
    const hidden = element.scrollHeight > element.clientHeight + 2 && ['auto', 'scroll'].includes(style.overflowY);
    // Tables and legends in tables go on below: they are sorted, what matters most is above.
    if (hidden && !element.closest('[role=table]') && !element.querySelector('table, [role=row]')) {
      yield `a part is hidden: ${element.scrollHeight} of ${element.clientHeight} px`;
    }
  }
}
