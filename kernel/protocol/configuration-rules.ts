/** Rules between keys of a configuration: what a schema of single keys cannot say. */
import type { ResolvedConfiguration } from './configuration.ts';
import { vocabularies } from './presets.ts';

/** A rule that holds between keys. */
export interface Rule {
  /** Keys that it reads; it is passed over when one of them has a problem of its own. */
  readonly keys: readonly string[];
  /** What is wrong; undefined when nothing is. */
  readonly problem: (config: ResolvedConfiguration) => string | undefined;
}

/** Every rule, in the order in which problems are told. */
export const rules: readonly Rule[] = [
  {
    keys: ['model.width', 'model.heads', 'model.preset'],
    problem: ({ model: { width, heads } }) =>
      width % heads === 0
        ? undefined
        : `model.width is ${width}: allowed is a multiple of model.heads, ${heads}`,
  },
  {
    keys: ['training.sequenceLength', 'model.contextLength', 'model.preset'],
    problem: ({ model: { contextLength }, training: { sequenceLength } }) =>
      sequenceLength <= contextLength
        ? undefined
        : `training.sequenceLength is ${sequenceLength}: allowed is at most model.contextLength, ${contextLength}`,
  },
  {
    keys: ['training.batchSize', 'parallel.data', 'parallel.microBatches'],
    problem: ({ training: { batchSize }, parallel: { data, microBatches } }) => {
      const parts = data * microBatches;
      return batchSize % parts === 0
        ? undefined
        : `training.batchSize is ${batchSize}: allowed is a multiple of ${parts}, because batchSize = data x microBatches x sequences per micro-batch = ${data} x ${microBatches} x ${(batchSize / parts).toFixed(2)}`;
    },
  },
  {
    keys: ['parallel.tensor', 'parallel.tensorMode', 'model.heads', 'model.preset'],
    problem: ({ parallel: { tensor, tensorMode }, model: { heads } }) =>
      tensorMode !== '1d' || heads % tensor === 0
        ? undefined
        : `parallel.tensor is ${tensor}: allowed are divisors of model.heads, ${heads}`,
  },
  {
    keys: ['parallel.pipeline', 'parallel.chunks', 'model.layers', 'model.preset'],
    problem: ({ parallel: { pipeline, chunks }, model: { layers } }) =>
      pipeline * chunks <= layers
        ? undefined
        : `parallel.pipeline is ${pipeline}: allowed is at most ${Math.floor(layers / chunks)}, because pipeline x chunks = ${pipeline} x ${chunks} parts need a block each, and model.layers is ${layers}`,
  },
  {
    keys: ['parallel.chunks', 'parallel.schedule', 'parallel.pipeline'],
    problem: ({ parallel: { chunks, schedule, pipeline } }) => {
      if (chunks === 1 || (schedule === 'interleaved' && pipeline > 1)) return undefined;
      const why =
        schedule === 'interleaved'
          ? `parallel.pipeline ${pipeline}: chunks are parts of stages that take turns`
          : `parallel.schedule "${schedule}"; "interleaved" takes more`;
      return `parallel.chunks is ${chunks}: allowed is 1 with ${why}`;
    },
  },
  {
    keys: ['parallel.microBatches', 'parallel.schedule', 'parallel.pipeline'],
    problem: ({ parallel: { microBatches, schedule, pipeline } }) =>
      schedule !== 'interleaved' || microBatches % pipeline === 0
        ? undefined
        : `parallel.microBatches is ${microBatches}: allowed are multiples of parallel.pipeline (${pipeline}) with parallel.schedule "interleaved"`,
  },
  {
    keys: ['data.vocabularySize', 'data.tokenizer'],
    problem: ({ data: { tokenizer, vocabularySize } }) =>
      vocabularySize === undefined || tokenizer === 'bpe'
        ? undefined
        : `data.vocabularySize is ${vocabularySize}: allowed only with data.tokenizer "bpe", which is "${tokenizer}"`,
  },
  {
    keys: ['model.vocabularySize', 'model.preset', 'data.tokenizer'],
    problem: ({ model: { vocabularySize }, data: { tokenizer } }) => {
      const needed = vocabularies[tokenizer];
      return needed === undefined || vocabularySize === undefined || vocabularySize >= needed
        ? undefined
        : `model.vocabularySize is ${vocabularySize}: allowed is at least ${needed}, the ids of tokenizer "${tokenizer}"`;
    },
  },
  {
    keys: ['data.text', 'data.dummy'],
    problem: ({ data: { text, dummy } }) =>
      dummy !== text.length > 0
        ? undefined
        : `data has ${dummy ? 'both text and dummy' : 'neither text nor dummy'}: allowed is exactly one of data.text, a list of files, and data.dummy, true`,
  },
  {
    keys: ['training.schedule.warmupSteps', 'training.steps'],
    problem: ({ training: { schedule, steps } }) =>
      schedule.warmupSteps <= steps
        ? undefined
        : `training.schedule.warmupSteps is ${schedule.warmupSteps}: allowed is at most training.steps, ${steps}`,
  },
];
