/** Whose output it is: asynchronous work belongs to the cell that began it, however long ago. */
import { AsyncLocalStorage } from 'node:async_hooks';

const storage = new AsyncLocalStorage<string>();
let latest = '';

/** The execute request whose code runs now; without a trace of it, the latest one. */
export function currentRequest(): string {
  return storage.getStore() ?? latest;
}

/** Runs `action` on behalf of a request. */
export function onBehalfOf<T>(request: string, action: () => T): T {
  latest = request;
  return storage.run(request, action);
}
