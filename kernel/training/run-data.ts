/** What a run learns from: texts or random tokens, the same on all ranks. */
import type { World } from '../parallel/world.ts';
import type { Manifest } from './checkpoint.ts';
import { DummySequences, evaluationBatches, TrainingSequences, type Batch } from './data/batches.ts';
import { buildCorpus, StopRequested, type CorpusReporter } from './data/corpus.ts';
import { openTokenizer, type TokenizerSpecification } from './data/tokenizer.ts';
import type { TrainingControl, TrainingTask } from './train.ts';

/** Sequences and held-out batches, whatever their source. */
export interface RunData {
  readonly sequences: { batch(first: number, count: number): Batch };
  readonly evaluation: readonly Batch[];
  readonly tokenizer: TokenizerSpecification;
  readonly vocabularySize: number;
  readonly corpusHash?: string;
}

/** Opens the data of a run; `before` is the checkpoint that it goes on from. Throws StopRequested. */
async function open(
  task: TrainingTask,
  before: Manifest | undefined,
  perMicroBatch: number,
  control: TrainingControl,
): Promise<RunData> {
  const { data, training, model } = task.config;
  const T = training.sequenceLength;
  if (data.dummy) {
    // There is no text to learn from.
    const tokenizer = await openTokenizer({ type: data.tokenizer === 'gpt2' ? 'gpt2' : 'byte' });
    const vocabularySize = model.vocabularySize ?? tokenizer.vocabularySize;
    const sequences = new DummySequences(vocabularySize, T, training.seed);
    return { sequences, evaluation: [], tokenizer: tokenizer.specification, vocabularySize };
  }
  const report: CorpusReporter = {
    phase: (text) => control.phase(text),
    warning: (code, message) => control.event({ event: 'warning', code, message }),
    stopRequested: () => control.stopRequested(),
  };
  const corpus = await buildCorpus(data, task.cacheDirectory, report, before?.tokenizer);
  if (before?.corpusHash !== undefined && before.corpusHash !== corpus.hash) {
    report.warning(
      'text-changed',
      `The text is not what it was at step ${before.step}: the run goes on with the new one, not as it would have gone on`,
    );
  }
  const evaluation = evaluationBatches(corpus.validation, T, perMicroBatch);
  if (evaluation.length === 0 && data.validation > 0) {
    const held = corpus.validation.length;
    report.warning(
      'no-evaluation',
      `The held-out split has ${held} tokens and one sequence needs ${T + 1}: there are no evaluations. Raise data.validation (${data.validation}) or shorten training.sequenceLength (${T})`,
    );
  }
  const { specification, vocabularySize } = corpus.tokenizer;
  if (model.vocabularySize !== undefined && model.vocabularySize < vocabularySize) {
    throw new Error(
      `model.vocabularySize is ${model.vocabularySize}: allowed is at least ${vocabularySize}, the ids of this text's tokenizer`,
    );
  }
  return {
    sequences: new TrainingSequences(corpus.training, T, training.seed),
    evaluation,
    tokenizer: specification,
    vocabularySize: model.vocabularySize ?? vocabularySize,
    corpusHash: corpus.hash,
  };
}

/** Opens the data on all ranks: the first prepares what the others then find, the cache of tokens. Undefined when stopped. */
export async function openData(
  task: TrainingTask,
  before: Manifest | undefined,
  perMicroBatch: number,
  control: TrainingControl,
  world: World,
): Promise<RunData | undefined> {
  // The first rank has told and asked all that there is to tell and to ask.
  const silent = { ...control, event: () => undefined, phase: () => undefined, stopRequested: () => false };
  const openHere = (): Promise<RunData> =>
    open(task, before, perMicroBatch, world.rank === 0 ? control : silent);
  const opened =
    world.rank > 0
      ? undefined
      : await openHere().catch((error: unknown) => {
          if (error instanceof StopRequested) return undefined;
          throw error;
        });
  const [stopped] = await world.any(world.rank === 0 && opened === undefined);
  if (stopped) return undefined;
  return opened ?? openHere();
}
