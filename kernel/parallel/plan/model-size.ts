/** Parameters and arithmetic of a model, whole and per tensor rank. */
import { tensorEdge } from '../../protocol/tensor-rules.ts';
import type { Accounting } from './accounting.ts';
import type { Job, Layout, PlannedModel } from './job.ts';

/** Multiplied weights of one block: those of its matrices. */
export function blockMatrices({ width: C, llama }: PlannedModel): number {
  if (llama === undefined) return 12 * C * C;
  // Q and projection, K and V, and three matrices of the gated MLP.
  return 2 * C * C + 2 * C * llama.keyValueWidth + 3 * C * llama.hiddenWidth;
}

/** Parameters of a block that every tensor rank has whole, and those that are split: biases and norms beside the matrices. */
function blockVectors({ width: C, llama }: PlannedModel): { whole: number; split: number } {
  // Two norms and the biases after row-split matrices are whole; those of QKV and of the MLP's first matrix are split.
  return llama === undefined ? { whole: 4 * C + 2 * C, split: 3 * C + 4 * C } : { whole: 2 * C, split: 0 };
}

/** Parts that a tensor group cuts the weights of a linear layer into. */
export function weightParts({ tensor, tensorMode }: Layout): number {
  const { q } = tensorEdge(tensorMode, tensor) ?? { q: tensor };
  // 2.5D holds a copy at each depth.
  return tensorMode === '2.5d' ? q * q : tensor;
}

/** Flat buffers of equal length on one rank: `count` of them can take turns. */
export interface ParameterBuffers {
  /** Parameters of one. */
  readonly length: number;
  readonly count: number;
}

/** The buffers of one stage's rank, as `kernel/parallel/zero/layout.ts` lays them out: what decays apart from what does not. */
export interface StageBuffers {
  readonly all: readonly ParameterBuffers[];
  /** Parameters altogether. */
  readonly parameters: number;
}

/**
 * The parameters of one tensor rank of a stage in the units that are sharded, gathered and reduced together: token table,
 * positions, each block, final norm, and the head where it is not the token table. A tied head on another stage than the
 * embedding has a table of its own, kept in step.
 */
export function stageBuffers(
  { model, layout }: Job,
  { splitsVocabulary }: Pick<Accounting, 'splitsVocabulary'>,
  stage: number,
  blocks: number,
): StageBuffers {
  const { width: C, contextLength, llama, vocabularySize, tieHead } = model;
  const parts = weightParts(layout);
  const vectors = blockVectors(model);
  const [isFirst, isLast] = [stage === 0, stage === layout.pipeline - 1];
  const tables = (isFirst ? 1 : 0) + (isLast && !(tieHead && isFirst) ? 1 : 0);
  const all = [
    { length: Math.ceil(vocabularySize / (splitsVocabulary ? parts : 1)) * C, count: tables },
    { length: contextLength * C, count: isFirst ? 1 : 0 },
    { length: Math.ceil(blockMatrices(model) / parts), count: blocks },
    { length: Math.ceil(vectors.split / parts) + vectors.whole, count: blocks },
    { length: (llama === undefined ? 2 : 1) * C, count: isLast ? 1 : 0 },
  ].filter(({ length, count }) => length > 0 && count > 0);
  return { all, parameters: all.reduce((sum, { length, count }) => sum + length * count, 0) };
}

/** Trainable parameters of the whole model, tied ones once. */
export function modelParameters(model: PlannedModel): number {
  const { layers, width: C, contextLength, vocabularySize, tieHead } = model;
  const { whole, split } = blockVectors(model);
  const tables = (tieHead ? 1 : 2) * vocabularySize * C + contextLength * C;
  return tables + layers * (blockMatrices(model) + whole + split) + (model.llama === undefined ? 2 : 1) * C;
}

/**
 * Operations of a step that are needed (multiplications and additions), as PaLM and Megatron-LM count them for MFU: 6 for
 * each multiplied weight and token, 12 T C a layer and token for attention, as if every query saw all T keys.
 */
export function modelOperations({ model, batchSize, sequenceLength: T }: Job): number {
  const matrices = model.layers * blockMatrices(model) + model.vocabularySize * model.width;
  return batchSize * T * (6 * matrices + 12 * model.layers * model.width * T);
}
