/**
 * Where one is. Links are ordinary links: those that lead to pages are followed without loading anew, whatever else the
 * browser offers for a link stays as it is.
 */
import { BASE } from "../api/client";

const ROOT = BASE.pathname;

function here(): string {
  const path = location.pathname;
  return path.startsWith(ROOT) ? `/${path.slice(ROOT.length)}` : path;
}

class Router {
  path = $state(here());
  query = $state.raw(new URLSearchParams(location.search));

  constructor() {
    addEventListener("popstate", () => this.#look());
    document.addEventListener("click", (event) => this.#clicked(event));
  }

  /** The link to a page. */
  href(path: string): string {
    return `${ROOT}${path.replace(/^\//, "")}`;
  }

  /** Go to a page. */
  go(path: string, { replace = false }: { replace?: boolean } = {}): void {
    if (replace) history.replaceState(null, "", this.href(path));
    else history.pushState(null, "", this.href(path));
    this.#look();
    if (!replace) scrollTo(0, 0);
  }

  #look(): void {
    this.path = here();
    this.query = new URLSearchParams(location.search);
  }

  #clicked(event: MouseEvent): void {
    if (
      event.defaultPrevented ||
      event.button !== 0 ||
      event.metaKey ||
      event.ctrlKey ||
      event.shiftKey ||
      event.altKey
    )
      return;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
    if (!link.pathname.startsWith(ROOT) || link.pathname.startsWith(`${ROOT}api/`)) return;
    if (link.pathname === location.pathname && link.search === location.search && link.hash) return;
    event.preventDefault();
    this.go(`/${link.pathname.slice(ROOT.length)}${link.search}`);
  }
}

export const router = new Router();
