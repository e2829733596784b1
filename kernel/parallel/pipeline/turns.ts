/** Things that are used in turns: made when all are in use, so there are as many as are ever used at once. */
import type { Engine, EngineEvent } from '../../engine/engine.ts';

/** See above. */
export class Turns<T> {
  readonly #engine: Engine;
  readonly #make: () => T;
  readonly #free: { readonly thing: T; readonly busy: EngineEvent | undefined }[] = [];

  constructor(engine: Engine, make: () => T) {
    this.#engine = engine;
    this.#make = make;
  }

  /** The one that was given back longest ago; calls queued from now on may use it. */
  take(): T {
    const next = this.#free.shift();
    if (!next) return this.#make();
    if (next.busy) this.#engine.wait(next.busy);
    return next.thing;
  }

  /** Back after all calls queued so far, and after `busy`. */
  give(thing: T, busy?: EngineEvent): void {
    this.#free.push({ thing, busy });
  }
}
