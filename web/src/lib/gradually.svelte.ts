/**
 * A list that is shown little by little, some rows in each frame: what is to be seen at once is there at once, and
 * hundreds more don't keep the page from answering meanwhile. In the end all of it is there, to be scrolled and searched.
 */

const FIRST = 40;
const STEP = 15;

export function gradually<T>(all: () => readonly T[] | undefined): { readonly shown: readonly T[] } {
  let count = $state(FIRST);
  const rest = $derived((all()?.length ?? 0) > count);
  $effect(() => {
    if (!rest) return;
    let frame = requestAnimationFrame(function more() {
      count += STEP;
      frame = requestAnimationFrame(more);
    });
    return () => cancelAnimationFrame(frame);
  });
  return {
    get shown() {
      return all()?.slice(0, count) ?? [];
    },
  };
}
