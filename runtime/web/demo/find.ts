/** Return an element of the page. */
export function find<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}
