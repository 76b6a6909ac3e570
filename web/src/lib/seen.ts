/**
 * What goes on only while somebody may look on: a window that has been hidden for a while needs nothing. It takes it up
 * again once it is looked at.
 */

const HIDDEN = 10_000;

interface Work {
  begin: () => () => void;
  end: (() => void) | undefined;
}

const works = new Set<Work>();
let seen = true;
let hiding: ReturnType<typeof setTimeout> | undefined;

document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) hiding = setTimeout(hide, HIDDEN);
  else show();
});

function hide(): void {
  seen = false;
  for (const work of works) {
    work.end?.();
    work.end = undefined;
  }
}

function show(): void {
  seen = true;
  for (const work of works) work.end ??= work.begin();
}

/**
 * Do something while this window is seen.
 *
 * @param begin begins it, and returns what ends it; called again whenever the window is seen again.
 * @returns what ends it for good.
 */
export function whileSeen(begin: () => () => void): () => void {
  const work: Work = { begin, end: seen ? begin() : undefined };
  works.add(work);
  return () => {
    works.delete(work);
    work.end?.();
    work.end = undefined;
  };
}
