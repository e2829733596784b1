/** The parameters of a GPT-2: names, shapes, initial spread, and the flat buffers that hold them. */
import type { Engine, Tensor } from '../engine/engine.ts';

/** Everything that decides the shapes of a GPT-2. */
export interface GptShape {
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  readonly contextLength: number;
  readonly vocabularySize: number;
  readonly activation: 'gelu-tanh' | 'gelu-erf';
  readonly tieHead: boolean;
  readonly dropout: number;
}

/** One parameter tensor. Names are Hugging Face's for GPT-2; linear weights are stored [inputs, outputs]. */
export interface ParameterSpecification {
  readonly name: string;
  readonly shape: readonly number[];
  /** Matrices and embeddings decay; biases and layer norms do not. */
  readonly decay: boolean;
  /** Standard deviation of the initial normal; 0 = constant. */
  readonly deviation: number;
  /** Initial constant where `deviation` is 0. */
  readonly constant: number;
  /** Its place in the model, and the random stream of its initial values: the same whatever the layout. */
  readonly stream: number;
  /** What of the parameter is meant, where it is split over tensor ranks. */
  readonly slice?: Slice;
}

/** One of `count` shares: equal ones of every layer's heads and hidden units, nearly equal ones of the vocabulary. */
export interface Share {
  readonly index: number;
  readonly count: number;
}

/** Everything is one share. */
export const undivided: Share = { index: 0, count: 1 };

/** The same columns of some consecutive rows of a parameter, in one share of a layer. */
export interface Slice {
  readonly share: Share;
  /** Elements of a row of the whole parameter. */
  readonly rowLength: number;
  readonly firstRow: number;
  readonly columns: readonly { readonly first: number; readonly length: number }[];
}

/** Elements that follow each other in a specification and in the whole parameter. */
export interface Run {
  /** First element within the specification. */
  readonly at: number;
  /** First element within the whole parameter. */
  readonly whole: number;
  readonly length: number;
}

/** Where elements `from` to before `to` of a specification lie in the whole parameter, in ascending order. */
export function* runsOf({ slice }: ParameterSpecification, from: number, to: number): Generator<Run> {
  if (!slice) {
    yield { at: from, whole: from, length: to - from };
    return;
  }
  const { rowLength, firstRow, columns } = slice;
  const held = columns.reduce((sum, { length }) => sum + length, 0);
  for (let row = Math.floor(from / held); row * held < to; row++) {
    let at = row * held;
    for (const { first, length } of columns) {
      const [start, end] = [Math.max(from, at), Math.min(to, at + length)];
      if (start < end)
        yield {
          at: start,
          whole: (firstRow + row) * rowLength + first + start - at,
          length: end - start,
        };
      at += length;
    }
  }
}

/** Parameters that are used together, and so are kept, sharded and gathered together. */
export interface Unit {
  readonly name: string;
  readonly parameters: readonly ParameterSpecification[];
}

/** The units of a model, in the order of the forward pass. */
export interface ModelUnits {
  readonly tokens: Unit;
  readonly positions: Unit;
  readonly blocks: readonly Unit[];
  readonly finalNorm: Unit;
  /** The unit with the head's weights: `tokens` itself where they are tied. */
  readonly head: Unit;
  /** Each of them once. */
  readonly all: readonly Unit[];
}

/**
 * Every parameter in the order of the forward pass. GPT-2's initialisation: N(0, 0.02), residual projections / sqrt(2L).
 * A share has its ids' rows of token table and head, the columns of QKV and of the MLP's first matrix that its heads and hidden units belong to, the rows
 * of the matrices that follow them (Shoeybi et al. 2019), and all of the rest.
 */
export function parameterSpecifications(shape: GptShape, share: Share = undivided): ParameterSpecification[] {
  const { width: C, layers } = shape;
  type Placeless = Omit<ParameterSpecification, 'stream'>;
  const matrix = (name: string, size: readonly number[], deviation = 0.02): Placeless => ({
    ...{ name, shape: size, decay: true, deviation, constant: 0 },
  });
  const vector = (name: string, size: number, constant = 0): Placeless => ({
    ...{ name, shape: [size], decay: false, deviation: 0, constant },
  });
  const residual = 0.02 / Math.sqrt(2 * layers);
  const specifications = [
    matrix('wte.weight', [shape.vocabularySize, C]),
    matrix('wpe.weight', [shape.contextLength, C]),
  ];
  for (let layer = 0; layer < layers; layer++) {
    const h = `h.${layer}`;
    specifications.push(
      vector(`${h}.ln_1.weight`, C, 1),
      vector(`${h}.ln_1.bias`, C),
      matrix(`${h}.attn.c_attn.weight`, [C, 3 * C]),
      vector(`${h}.attn.c_attn.bias`, 3 * C),
      matrix(`${h}.attn.c_proj.weight`, [C, C], residual),
      vector(`${h}.attn.c_proj.bias`, C),
      vector(`${h}.ln_2.weight`, C, 1),
      vector(`${h}.ln_2.bias`, C),
      matrix(`${h}.mlp.c_fc.weight`, [C, 4 * C]),
      vector(`${h}.mlp.c_fc.bias`, 4 * C),
      matrix(`${h}.mlp.c_proj.weight`, [4 * C, C], residual),
      vector(`${h}.mlp.c_proj.bias`, C),
    );
  }
  specifications.push(vector('ln_f.weight', C, 1), vector('ln_f.bias', C));
  if (!shape.tieHead) specifications.push(matrix('lm_head.weight', [shape.vocabularySize, C]));
  return specifications.map((specification, stream) => sliced({ ...specification, stream }, C, share));
}

/** Whether it is a layer norm's: its gradient is a sum over the tokens that go through the norm. */
export function isNorm({ name }: Pick<ParameterSpecification, 'name'>): boolean {
  return /(^|\.)ln_[12f]\./.test(name);
}

/** The ids of a share of a vocabulary: `first` to before `end`. */
export function idsOf(vocabularySize: number, { index, count }: Share): { first: number; end: number } {
  const from = (share: number): number => Math.floor((vocabularySize * share) / count);
  return { first: from(index), end: from(index + 1) };
}

/** A parameter's part in a share of the layers: the parameter itself where it is not split. */
function sliced(whole: ParameterSpecification, C: number, share: Share): ParameterSpecification {
  const { index, count } = share;
  const kind = whole.name.replace(/^h\.\d+\./, '');
  const parts = { 'attn.c_attn': 3, 'mlp.c_fc': 1 }[kind.replace(/\.(weight|bias)$/, '')];
  const isRows = kind === 'attn.c_proj.weight' || kind === 'mlp.c_proj.weight';
  const isTable = kind === 'wte.weight' || kind === 'lm_head.weight';
  if (isTable && count > 1) {
    const [rows = 0, rowLength = 0] = whole.shape;
    const { first, end } = idsOf(rows, share);
    const columns = [{ first: 0, length: rowLength }];
    return {
      ...whole,
      shape: [end - first, rowLength],
      slice: { share, rowLength, firstRow: first, columns },
    };
  }
  if (count === 1 || (parts === undefined && !isRows)) return whole;
  const [rows, rowLength] =
    whole.shape.length === 2 ? (whole.shape as [number, number]) : [1, whole.shape[0] ?? 0];
  if (parts === undefined) {
    const columns = [{ first: 0, length: rowLength }];
    const slice = { share, rowLength, firstRow: (rows / count) * index, columns };
    return { ...whole, shape: [rows / count, rowLength], slice };
  }
  const width = kind.startsWith('attn') ? C : rowLength;
  const length = width / count;
  const columns = Array.from({ length: parts }, (_, part) => ({
    first: part * width + index * length,
    length,
  }));
  const slice = { share, rowLength, firstRow: 0, columns };
  return { ...whole, shape: [...whole.shape.slice(0, -1), parts * length], slice };
}

/** The units of a model of that shape. */
export function modelUnits(shape: GptShape, share: Share = undivided): ModelUnits {
  const all = parameterSpecifications(shape, share);
  const unit = (name: string, belongs: (parameter: string) => boolean): Unit => ({
    name,
    parameters: all.filter((specification) => belongs(specification.name)),
  });
  const tokens = unit('tokens', (name) => name === 'wte.weight');
  const positions = unit('positions', (name) => name === 'wpe.weight');
  const blocks = Array.from({ length: shape.layers }, (_, layer) =>
    unit(`block ${layer}`, (name) => name.startsWith(`h.${layer}.`)),
  );
  const finalNorm = unit('final norm', (name) => name.startsWith('ln_f.'));
  const head = shape.tieHead ? tokens : unit('head', (name) => name === 'lm_head.weight');
  const rest = shape.tieHead ? [] : [head];
  return {
    tokens,
    positions,
    blocks,
    finalNorm,
    head,
    all: [tokens, positions, ...blocks, finalNorm, ...rest],
  };
}

/** Number of elements of a shape. */
export function elementsOf({ shape }: { readonly shape: readonly number[] }): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** A flat buffer and the named views into it. */
export interface FlatGroup {
  readonly flat: Tensor;
  readonly views: ReadonlyMap<string, Tensor>;
}

/** One quantity (values, gradients, a moment) of all parameters: decaying ones in one flat buffer, the others in another. */
export class ParameterSet {
  readonly decaying: FlatGroup;
  readonly others: FlatGroup;

  constructor(engine: Engine, specifications: readonly ParameterSpecification[]) {
    const group = (decay: boolean): FlatGroup => {
      const members = specifications.filter((specification) => specification.decay === decay);
      const sizes = members.map(elementsOf);
      const flat = engine.allocate('f32', [sizes.reduce((a, b) => a + b, 0)]);
      const views = new Map<string, Tensor>();
      let offset = 0;
      members.forEach(({ name, shape }, index) => {
        views.set(name, flat.view(offset, shape));
        offset += sizes[index] ?? 0;
      });
      return { flat, views };
    };
    this.decaying = group(true);
    this.others = group(false);
  }

  /** The tensor of that name. Throws when the model has none. */
  get(name: string): Tensor {
    const tensor = this.decaying.views.get(name) ?? this.others.views.get(name);
    if (tensor === undefined) throw new Error(`The model has no parameter ${name}`);
    return tensor;
  }

  /** Zeroes everything. */
  clear(engine: Engine): void {
    engine.fill(this.decaying.flat, 0);
    engine.fill(this.others.flat, 0);
  }

  release(engine: Engine): void {
    engine.release(this.decaying.flat);
    engine.release(this.others.flat);
  }
}

/** Queues the initial values of a parameter's elements from `from` on: it draws from its own stream of the seed, whatever the layout. */
export function initialisePiece(
  engine: Engine,
  tensor: Tensor,
  specification: ParameterSpecification,
  from: number,
  seed: number,
): void {
  const { deviation, constant, stream } = specification;
  if (deviation === 0) engine.fill(tensor, constant);
  else
    for (const { at, whole, length } of runsOf(specification, from, from + tensor.length)) {
      const run = tensor.view(at - from, [length]);
      engine.randomNormal(run, deviation, { seed, stream, offset: whole });
    }
}

/** Fills `values` with the initial weights. */
export function initialise(
  engine: Engine,
  values: ParameterSet,
  specifications: readonly ParameterSpecification[],
  seed: number,
): void {
  for (const specification of specifications)
    initialisePiece(engine, values.get(specification.name), specification, 0, seed);
}
