/** Light, dark, or as the system has it. */
import { keep, kept } from "./kept";

export const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

class ThemeChoice {
  chosen = $state<Theme>(THEMES.find((theme) => theme === kept("theme")) ?? "system");

  choose(theme: Theme): void {
    this.chosen = theme;
    keep("theme", theme === "system" ? null : theme);
    this.apply();
  }

  apply(): void {
    if (this.chosen === "system") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = this.chosen;
  }
}

export const theme = new ThemeChoice();
