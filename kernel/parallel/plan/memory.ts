/** Memory of a rank by part, at the worst moment of its schedule. */
import { accounting, type Accounting, type AccountingName } from './accounting.ts';
import { scheduleProfile, type Peak } from './in-flight.ts';
import { layersOfVirtualStages, microBatchSize, type Job } from './job.ts';
import { stateBytes } from './states.ts';
import { tensorEdge } from '../../protocol/tensor-rules.ts';

/** Bytes of one rank by part. */
export interface MemoryParts {
  /** The rank's own parameters: its shards with ZeRO 3. */
  readonly weights: number;
  readonly gradients: number;
  /** Moments, and masters where weights are not f32. */
  readonly optimizer: number;
  /** What forwards keep for backwards, and what one of them works with. */
  readonly activations: number;
  /** What is gathered, reduced, sent or received: units of parameters and gradients, stage boundaries, outboxes. */
  readonly communication: number;
  readonly logits: number;
  /** What the process has before it holds a model. */
  readonly process: number;
}

/** Memory of the ranks of one stage, which are alike. */
export interface StageMemory extends MemoryParts {
  readonly stage: number;
  /** Sum of the parts, bytes. */
  readonly total: number;
  /** When: what the stage does at its peak. */
  readonly moment: string;
}

/** Bytes of half an outbox of the shared-memory collectives. */
const OUTBOX = 2 ** 20;

/** The names of the parts, in the order of tables. */
export const memoryParts = [
  'weights',
  'gradients',
  'optimizer',
  'activations',
  'communication',
  'logits',
  'process',
] as const satisfies (keyof MemoryParts)[];

/** Memory of each stage's ranks, or of those of `only`. Throws a RangeError when the schedule does not exist. */
export function stageMemory(job: Job, name: AccountingName, only?: readonly number[]): StageMemory[] {
  const { layout } = job;
  const { pipeline: stages, chunks, microBatches } = layout;
  const bytes = accounting(name, job.precision);
  const { peaks } = scheduleProfile(layout.schedule, { stages, microBatches, chunks });
  const layers = layersOfVirtualStages(job);
  return (only ?? [...peaks.keys()]).flatMap((stage) => {
    const peak = peaks[stage];
    if (peak === undefined) return [];
    const own = layers.filter((_, virtual) => virtual % stages === stage);
    const blocks = own.reduce((sum, count) => sum + count, 0);
    const { units, ...states } = stateBytes(job, bytes, stage, blocks);
    const parts: MemoryParts = {
      ...states,
      activations: activationBytes(job, bytes, stage, own, peak),
      communication: units + boundaryBytes(job, bytes) + outboxBytes(job, name),
      logits: stage === stages - 1 ? logitBytes(job, bytes) : 0,
      process: bytes.process,
    };
    const total = memoryParts.reduce((sum, part) => sum + parts[part], 0);
    return { stage, ...parts, total, moment: describe(peak, chunks) };
  });
}

function describe({ operation: { kind, microBatch, chunk }, held }: Peak, chunks: number): string {
  const count = held.reduce((sum, one) => sum + one, 0);
  const part = chunks > 1 ? `, chunk ${chunk}` : '';
  return `${kind.replace('-', ' ')} of micro-batch ${microBatch}${part}: activations of ${count} held`;
}

/**
 * How much smaller a tensor rank's activations are: those between split layers, those around the norms, and those that come
 * to split layers, of all tokens.
 */
export function activationParts({ layout: { tensor, tensorMode, sequenceParallel } }: Job): {
  split: number;
  around: number;
  gathered: number;
} {
  if (tensorMode === '1d') return { split: tensor, around: sequenceParallel ? tensor : 1, gathered: 1 };
  const { q, depth } = tensorEdge(tensorMode, tensor) ?? { q: 1, depth: 1 };
  // Tiles of activations are split in both of their directions, and over the depth.
  const parts = tensorMode === '3d' ? q ** 3 : q * q * depth;
  return { split: parts, around: parts, gathered: parts };
}

/** Bytes that one token leaves on one block, without the block's input. */
function blockBytesPerToken(job: Job, { activation: a, stream: r, remakesInputs }: Accounting): number {
  const { model, sequenceLength: T, peculiarities = {} } = job;
  const { width: C, heads: H, llama, dropout } = model;
  const { split, around } = activationParts(job);
  const hidden = llama ? 3 * llama.hiddenWidth : remakesInputs ? 4 * C : 8 * C;
  const qkv = C + 2 * (llama?.keyValueWidth ?? C);
  // Both norms' outputs, the stream between the branches; statistics of the norms are 4 f32 a token.
  const norms = (remakesInputs ? 0 : 2 * a * C) + r * C + (dropout > 0 && r === 2 ? 2 * C : 0);
  const attention = a * (qkv + C) + 4 * H;
  // Scores before and after the softmax and its dropout, and the mask (Korthikanti et al. 2022, equation 1).
  const scores = peculiarities.materializedAttention ? 5 * H * T : 0;
  return (norms + 16) / around + (attention + a * hidden + scores) / split;
}

/** Activations that are held at the peak, and the gradients and scratch of the block in work. */
function activationBytes(
  job: Job,
  bytes: Accounting,
  stage: number,
  layersOfChunks: readonly number[],
  { held, most, split }: Peak,
): number {
  const { layout, model, sequenceLength: T } = job;
  const tokens = microBatchSize(job) * T;
  const C = model.width;
  const { split: splitParts, around, gathered } = activationParts(job);
  const { activation: a, stream: r } = bytes;
  const block = blockBytesPerToken(job, bytes);
  const stream = (r * C) / around;
  const dropped = layout.activationCheckpointing ? 1 : (job.peculiarities?.recomputedShare ?? 0);
  // Of a split backward the gradients of all products' outputs, and inputs that are not kept, in every micro-batch's
  // memory once it has needed them.
  const isSplit = split.some((count) => count > 0) && dropped === 0;
  const norms = bytes.remakesInputs ? 2 * a * C : 0;
  const outputs = isSplit ? norms / around + (2 * a * C) / gathered + (a * 7 * C) / splitParts : 0;
  /** What keeps a block for its backward: its output, and what is within. */
  const kept = stream + (1 - dropped) * block + outputs;
  let inFlight = 0;
  for (const [chunk, layers] of layersOfChunks.entries()) {
    const [isFirst, isLast] = [
      stage === 0 && chunk === 0,
      chunk === layout.chunks - 1 && stage === layout.pipeline - 1,
    ];
    // The input, ids at either end, the final norm with its statistics.
    const ends = (isFirst ? 4 : 0) + (isLast ? 4 + (a * C + 8) / around : 0);
    // What came from another stage goes back into a pool that all chunks take from.
    const slots = (bytes.keepsSlots ? most : held)[chunk] ?? 0;
    const inputs = isFirst ? slots : (held[chunk] ?? 0);
    inFlight += slots * (layers * kept + ends) + inputs * stream;
  }
  /** What the block in work needs besides: all of itself where it is computed again, gradients and scratch. */
  const made = bytes.remakesInputs ? (a * C) / gathered + (a * 4 * C) / splitParts : 0;
  const whole = ((r + a) * C) / gathered;
  const work = dropped * block + (2 * r * C) / around + whole + (a * 7 * C) / splitParts + made;
  // The losses of the whole batch are kept on every rank.
  return tokens * (inFlight + work) + 4 * job.batchSize * T;
}

function logitBytes(job: Job, { logitTokens, logit, splitsVocabulary }: Accounting): number {
  const { model, sequenceLength } = job;
  const tokens = Math.min(microBatchSize(job) * sequenceLength, logitTokens);
  const { split } = activationParts(job);
  return (tokens * model.vocabularySize * logit) / (splitsVocabulary ? split : 1);
}

/** The stream or gradient that is being received ahead. */
function boundaryBytes(job: Job, { stream }: Accounting): number {
  const { layout, model, sequenceLength } = job;
  if (layout.pipeline === 1) return 0;
  const { around } = activationParts(job);
  return (microBatchSize(job) * sequenceLength * model.width * stream) / around;
}

/** Shared memory of the collectives: two halves of every member's outbox, which all of a group read; neighbouring stages' pairs. */
export function outboxBytes({ layout: { data, tensor, pipeline } }: Job, name: AccountingName): number {
  if (name === 'mixed') return 0; // counted with the process
  const members = (data > 1 ? data : 0) + (tensor > 1 ? tensor : 0) + (pipeline > 1 ? 2 : 0);
  return 2 * OUTBOX * members;
}
