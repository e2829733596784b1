/** Builds HTML without strings of HTML: names of runs are the user's. */

type Child = Node | string | undefined;

/** An element with attributes and children; `class` and `aria-*` as in HTML, undefined leaves an attribute out. */
export function element<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Record<string, string | undefined> = {},
  ...children: Child[]
): HTMLElementTagNameMap[Name] {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes))
    if (value !== undefined) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== undefined));
  return made;
}

/** A push button; with `pressed` it is a toggle. */
export function button(
  label: string,
  title: string,
  pressed: boolean | undefined,
  act: () => void,
): HTMLButtonElement {
  const made = element('button', { type: 'button', title, 'aria-pressed': pressed?.toString() }, label);
  made.addEventListener('click', act);
  return made;
}

/** Replaces text only where it differs: a selection in it survives, and nothing is laid out again. */
export function setText(target: Element, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}
