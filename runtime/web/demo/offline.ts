/** A service worker: once loaded, the page works without a network. A new version takes over when its pages are closed. */

declare const FILES: readonly string[]; // of the page; both are filled in where it is built
declare const VERSION: string;

interface LifeEvent extends Event {
  waitUntil(work: Promise<unknown>): void;
}

interface FetchEvent extends Event {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}

async function forgetOthers(): Promise<void> {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name !== VERSION).map((name) => caches.delete(name)));
}

async function answer(request: Request): Promise<Response> {
  const cache = await caches.open(VERSION);
  return (await cache.match(request)) ?? fetch(request);
}

addEventListener("install", (event) => {
  (event as LifeEvent).waitUntil(caches.open(VERSION).then((cache) => cache.addAll(FILES)));
});
addEventListener("activate", (event) => (event as LifeEvent).waitUntil(forgetOthers()));
addEventListener("fetch", (event) => {
  const { request } = event as FetchEvent;
  if (request.method === "GET") (event as FetchEvent).respondWith(answer(request));
});
