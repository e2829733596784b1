/** Buffers of many units one after the other, so that one pass updates them all. */
import type { Engine, Tensor } from '../../engine/engine.ts';
import type { Region } from '../../training/optimizer.ts';
import type { FlatLayout } from './layout.ts';

/** Values, gradients and moments of parameters that all decay, or none of which does. */
export class Arena {
  readonly decay: boolean;
  readonly #all: { readonly values: Tensor; readonly sum: Tensor; readonly m: Tensor; readonly v: Tensor };
  readonly #offsets = new Map<FlatLayout, number>();

  constructor(engine: Engine, decay: boolean, layouts: readonly FlatLayout[], momentDirectory?: string) {
    this.decay = decay;
    let used = 0;
    for (const layout of layouts) {
      this.#offsets.set(layout, used);
      used += layout.length;
    }
    const floats = (): Tensor => engine.allocate('f32', [used]);
    const moments = (): Tensor => engine.allocate('f32', [used], momentDirectory);
    this.#all = { values: floats(), sum: floats(), m: moments(), v: moments() };
  }

  /** The part of one buffer. */
  part(layout: FlatLayout): { values: Tensor; sum: Tensor; m: Tensor; v: Tensor } {
    const offset = this.#offsets.get(layout);
    if (offset === undefined) throw new Error('The arena was made without this buffer');
    const view = (tensor: Tensor): Tensor => tensor.view(offset, [layout.length]);
    const { values, sum, m, v } = this.#all;
    return { values: view(values), sum: view(sum), m: view(m), v: view(v) };
  }

  /** What an update goes over: nothing where there are no parameters of this kind. */
  regions(): Region[] {
    const { values, sum, m, v } = this.#all;
    return values.length === 0 ? [] : [{ parameters: values, gradients: sum, m, v, decay: this.decay }];
  }
}
