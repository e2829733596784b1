/** What one micro-batch costs a rank on each virtual stage: seconds of products, of passing over memory, of tensor groups. */
import { accounting, type Accounting } from './accounting.ts';
import { layersOfVirtualStages, microBatchSize, worldSize, type Job } from './job.ts';
import { wireOf } from './links.ts';
import type { Machine } from './machine.ts';
import { activationParts } from './memory.ts';
import { blockMatrices } from './model-size.ts';
import { blockVolume, linearVolume } from './tensor-volume.ts';

/** What one micro-batch costs on one block, or on head or embedding: seconds forward and backward. */
export interface Cost {
  readonly products: readonly [forward: number, backward: number];
  readonly memory: readonly [forward: number, backward: number];
  readonly tensor: readonly [forward: number, backward: number];
}

/** The parts of a cost. */
export const costParts = ['products', 'memory', 'tensor'] as const;

/** A rank's part of the machine. */
interface Rates {
  /** Operations a second that products reach. */
  readonly products: number;
  /** Bytes a second that passing over memory reaches. */
  readonly memory: number;
}

/** What is left to a rank of the machine's rates. */
export function ratesOf(job: Job, machine: Machine): Rates {
  const sharing = machine.shared ? worldSize(job.layout) : 1;
  return {
    products: (machine.peak[job.precision] * machine.productShare) / sharing,
    memory: (machine.memoryBandwidth * machine.memoryShare) / sharing,
  };
}

/** One block's cost of one micro-batch on one rank. */
function blockCost(job: Job, machine: Machine, rates: Rates, bytes: Accounting): Cost {
  const { model, layout, sequenceLength: T, peculiarities = {} } = job;
  const { width: C, heads: H, llama } = model;
  const N = microBatchSize(job) * T;
  const { split, around } = activationParts(job);
  const { activation: a, stream: r } = bytes;
  const hidden = llama?.hiddenWidth ?? 4 * C;
  const materialized = peculiarities.materializedAttention === true;

  const linear =
    (2 * N * blockMatrices(model)) / layout.tensor / (rates.products * (peculiarities.productRate ?? 1));
  // Scores and their use: 4 T C a token, of which a causal kernel computes half.
  const attention = (N * 4 * T * C * (materialized ? 1 : 0.5)) / layout.tensor / rates.products;
  // Norms read the stream and write what is multiplied; residuals are read, added and written.
  const norms = N * C * (8 * r + 2 * a + (model.dropout > 0 ? 4 * r : 0));
  // Q, K, V and the MLP's inner values; our own kernels apply the activation while a product's tile is in the cache.
  const inner = N * ((llama ? 6 : 4) * a * C + (bytes.stream === 4 ? 0 : 2 * a * hidden * (llama ? 1.5 : 1)));
  // Scores written, masked, normalised, dropped out and read again.
  const scores = materialized ? N * H * T * 13 : 0;
  // Our products pack the weights from memory each time; GPUs read them while they multiply.
  const packed = machine.accounting === 'native' ? (4 * blockMatrices(model)) / layout.tensor : 0;
  const memory = (norms / around + (inner + scores) / split + packed) / rates.memory;
  const volume = blockVolume(layout, N, C, hidden, llama?.keyValueWidth ?? C);
  const isAgain = layout.activationCheckpointing;
  const again = isAgain ? 1 : (peculiarities.recomputedShare ?? 0);
  // Two all-reduces each way in 1D, and about as many steps in the others.
  const tensorForward = tensorSeconds(job, machine, volume.forward, 2);
  // What norms of a share of the tokens make again is gathered again: two halves of an all-reduce.
  const remade = layout.sequenceParallel && bytes.remakesInputs ? sumSeconds(job, machine) : 0;
  const tensorBackward = tensorSeconds(job, machine, volume.backward, 2) + remade;
  return {
    // A fused backward of attention computes the scores again.
    products: [
      linear + attention,
      linear * (2 + again) + attention * ((materialized ? 2 : 2.5) + (isAgain ? 1 : 0)),
    ],
    memory: [memory, memory * (2 + again)],
    tensor: [tensorForward, tensorBackward + (isAgain ? tensorForward : 0)],
  };
}

/** Seconds in which so many elements come to a tensor rank in so many all-reduces. */
function tensorSeconds(job: Job, machine: Machine, elements: number, count: number): number {
  const { tensor } = job.layout;
  if (tensor === 1) return 0;
  const wire = wireOf(machine, job.layout, 'tensor');
  const { activation } = accounting(machine.accounting, job.precision);
  return (elements * activation) / wire.bandwidth + count * 2 * Math.log2(tensor) * wire.latency;
}

/**
 * An all-reduce of the stream of a micro-batch, or its halves: of a vocabulary-parallel embedding's output, forward; of the
 * gradient that comes from the head, backward.
 */
function sumSeconds(job: Job, machine: Machine): number {
  const N = microBatchSize(job) * job.sequenceLength;
  const layer = { N, I: job.model.width, O: job.model.width, split: 'rows' } as const;
  const { forward } = linearVolume({ ...job.layout, tensorMode: '1d' }, layer);
  return tensorSeconds(job, machine, forward, 1);
}

/** The head's cost of one micro-batch: logits, their softmax, and the gradients of both factors. */
function headCost(job: Job, machine: Machine, rates: Rates, bytes: Accounting): Cost {
  const { model, layout, sequenceLength: T } = job;
  const N = microBatchSize(job) * T;
  const weights = model.width * model.vocabularySize;
  const parts = bytes.splitsVocabulary ? layout.tensor : 1;
  const product = (2 * N * weights) / parts / rates.products;
  const packed = machine.accounting === 'native' ? (4 * weights) / parts / rates.memory : 0;
  const logits = (N * model.vocabularySize * bytes.logit) / parts / rates.memory;
  const summed = bytes.splitsVocabulary ? sumSeconds(job, machine) : 0;
  return {
    products: [product, 2 * product],
    memory: [logits + packed, logits + 2 * packed],
    tensor: [0, summed],
  };
}

/** Costs of every virtual stage's micro-batch. */
export function virtualStageCosts(job: Job, machine: Machine): Cost[] {
  const bytes = accounting(machine.accounting, job.precision);
  const rates = ratesOf(job, machine);
  const [block, head] = [blockCost(job, machine, rates, bytes), headCost(job, machine, rates, bytes)];
  const layers = layersOfVirtualStages(job);
  return layers.map((count, virtual) => {
    const of = (part: (typeof costParts)[number]): [number, number] => {
      const [forward, backward] = block[part];
      const [headForward, headBackward] = virtual === layers.length - 1 ? head[part] : [0, 0];
      return [count * forward + headForward, count * backward + headBackward];
    };
    const [tensorForward, tensorBackward] = of('tensor');
    // Shares of the tokens are scattered forward and gathered backward: half of it each.
    const embedding = virtual === 0 && bytes.splitsVocabulary ? sumSeconds(job, machine) : 0;
    return {
      products: of('products'),
      memory: of('memory'),
      tensor: job.layout.sequenceParallel
        ? [tensorForward + embedding / 2, tensorBackward + embedding / 2]
        : [tensorForward + embedding, tensorBackward],
    };
  });
}

/** Seconds to send one micro-batch's stream to the next stage. */
export function sendSeconds(job: Job, machine: Machine): number {
  const { layout, model, sequenceLength: T, peculiarities = {} } = job;
  if (layout.pipeline === 1) return 0;
  const { stream } = accounting(machine.accounting, job.precision);
  const wire = wireOf(machine, layout, 'pipeline');
  const shares = layout.sequenceParallel || peculiarities.scatteredSends ? layout.tensor : 1;
  const bytes = (microBatchSize(job) * T * model.width * stream) / shares;
  return bytes / wire.bandwidth + wire.latency;
}
