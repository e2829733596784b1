/** Bytes that an engine keeps for a parameter and for a token: our native engine's, and the usual ones of GPUs. */
import type { Job } from './job.ts';

/** How an engine keeps a model. */
export interface Accounting {
  /** Bytes of a parameter. */
  readonly weight: number;
  readonly gradient: number;
  /** AdamW's moments, and the f32 master of weights that are not f32. */
  readonly optimizer: number;
  /** Bytes of an element of what is multiplied. */
  readonly activation: number;
  /** Bytes of an element of the residual stream, and of what goes from stage to stage. */
  readonly stream: number;
  /** Tokens whose logits exist at a time. */
  readonly logitTokens: number;
  /** Bytes of a logit, with all its copies. */
  readonly logit: number;
  /** What a process has before it holds a model. */
  readonly process: number;
  /** Whether the outputs of norms and of the activation are made again in the backward instead of kept. */
  readonly remakesInputs: boolean;
  /** Whether tensor ranks share the vocabulary: table, head, logits and their softmax. */
  readonly splitsVocabulary: boolean;
  /** Parameters that shards are whole multiples of. */
  readonly shardAlignment: number;
  /** Whether memory of a chunk's activations is kept for that chunk, so that each has its own most. */
  readonly keepsSlots: boolean;
  /** Whether replicas sum the gradients of each micro-batch, and add the sums, or those of a step at its end. */
  readonly reducesEach: boolean;
}

/** Names of the accountings. */
export type AccountingName = 'native' | 'mixed';

/**
 * `native`: weights, gradients and both moments are f32 whatever the precision; of bf16 are the activations that are
 * multiplied (`kernel/training/model.ts`). Logits exist for 256 tokens at a time.
 *
 * `mixed`: 2 bytes of a weight, 2 of a gradient, 12 of optimizer state (f32 master and moments), as in the ZeRO paper
 * (Rajbhandari et al. 2020, section 3.1); activations and stream in 2 bytes; logits whole, in 2 and 4 bytes.
 */
export function accounting(name: AccountingName, precision: Job['precision']): Accounting {
  const half = precision === 'bf16';
  if (name === 'native') {
    const activation = half ? 2 : 4;
    return {
      ...{ weight: 4, gradient: 4, optimizer: 8, activation, stream: 4 },
      // Node with the program, the engine, its threads' working space and packed operands: measured.
      ...{ logitTokens: 256, logit: activation, process: 82e6 },
      // So that the order of summation does not depend on the stage.
      ...{ shardAlignment: 64, reducesEach: true, keepsSlots: true, splitsVocabulary: true },
      remakesInputs: true,
    };
  }
  const others = {
    // The CUDA context, libraries and NCCL's buffers.
    process: 1.5e9,
    ...{ logitTokens: Infinity, splitsVocabulary: true, shardAlignment: 1 },
    ...{ reducesEach: false, keepsSlots: false, remakesInputs: false },
  };
  return half
    ? { ...others, weight: 2, gradient: 2, optimizer: 12, activation: 2, stream: 2, logit: 6 }
    : { ...others, weight: 4, gradient: 4, optimizer: 8, activation: 4, stream: 4, logit: 8 };
}
