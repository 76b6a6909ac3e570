/** Choices that this browser keeps. Where it keeps nothing, a choice lasts as long as the page. */

export function kept(name: string): string | null {
  try {
    return localStorage.getItem(`holdfast.${name}`);
  } catch {
    return null;
  }
}

export function keep(name: string, value: string | null): void {
  try {
    if (value === null) localStorage.removeItem(`holdfast.${name}`);
    else localStorage.setItem(`holdfast.${name}`, value);
  } catch {
    // private windows of some browsers keep nothing
  }
}
