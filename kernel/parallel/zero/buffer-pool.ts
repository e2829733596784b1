/** Buffers that units take turns to use: allocated when first needed, kept for the next of the same kind. */
import type { Engine, Tensor } from '../../engine/engine.ts';
import type { FlatLayout } from './layout.ts';

/** Free buffers, by what may lie in them. */
export class BufferPool {
  readonly #engine: Engine;
  readonly #free = new Map<string, Tensor[]>();
  readonly #allocated = new Map<string, number>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Buffers of the same kind are as long, and have the same padding, which stays zero in all of them. */
  static kind({ members, length }: FlatLayout): string {
    const last = members.at(-1);
    return `${(last?.offset ?? 0) + (last?.length ?? 0)} of ${length}`;
  }

  /** A buffer, whatever it holds; undefined where all are in use and there are `limit` of them. */
  take(layout: FlatLayout, limit: number): Tensor | undefined {
    const kind = BufferPool.kind(layout);
    const isThere = (this.#free.get(kind)?.length ?? 0) > 0 || (this.#allocated.get(kind) ?? 0) < limit;
    return isThere ? this.takeAny(layout) : undefined;
  }

  /** A buffer, whatever it holds; a new one where all are in use. */
  takeAny(layout: FlatLayout): Tensor {
    const kind = BufferPool.kind(layout);
    const free = this.#free.get(kind)?.pop();
    if (free) return free;
    this.#allocated.set(kind, (this.#allocated.get(kind) ?? 0) + 1);
    return this.#engine.allocate('f32', [layout.length]);
  }

  give(layout: FlatLayout, buffer: Tensor): void {
    const kind = BufferPool.kind(layout);
    const free = this.#free.get(kind) ?? [];
    free.push(buffer);
    this.#free.set(kind, free);
  }
}
