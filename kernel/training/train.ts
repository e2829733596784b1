/** One run, top to bottom: data, model, optimizer, the loop of steps, evaluations and checkpoints. */
import { join } from 'node:path';
import type { Engine } from '../engine/engine.ts';
import type { ResolvedConfiguration } from '../protocol/configuration.ts';
import type { RunEventBody } from '../protocol/events.ts';
import { loadTrainingState, readManifest, saveCheckpoint, type Manifest } from './checkpoint.ts';
import { DummySequences, evaluationBatches, TrainingSequences, type Batch } from './data/batches.ts';
import { buildCorpus, StopRequested, type CorpusReporter } from './data/corpus.ts';
import { openTokenizer, type TokenizerSpecification } from './data/tokenizer.ts';
import { TrainingPass } from './training-pass.ts';
import { AdamW } from './optimizer.ts';
import { initialise, ParameterSet, parameterSpecifications, type GptShape } from './parameters.ts';
import { learningRate } from './schedule.ts';

/** What a run is given. */
export interface TrainingTask {
  readonly run: string;
  readonly config: ResolvedConfiguration;
  /** Folder for checkpoints. */
  readonly directory: string;
  readonly cacheDirectory: string;
  /** Checkpoint to continue from. */
  readonly resume?: string;
}

/** How a run tells what happens and hears what is asked of it. */
export interface TrainingControl {
  event(event: RunEventBody): void;
  phase(text: string): void;
  /** Asked after every step: end now, after a checkpoint. */
  stopRequested(): boolean;
  /** Asked after every step: write a checkpoint; true once per request. */
  takeCheckpointRequest(): boolean;
}

/** Sequences and held-out batches, whatever their source. */
interface RunData {
  readonly sequences: { batch(first: number, count: number): Batch };
  readonly evaluation: readonly Batch[];
  readonly tokenizer: TokenizerSpecification;
  readonly vocabularySize: number;
  readonly corpusHash?: string;
}

/** Opens the data of a run; `before` is the checkpoint that it goes on from. Throws StopRequested. */
async function openData(
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

const finiteOrNull = (value: number): number | null => (Number.isFinite(value) ? value : null);

function sum(values: Float32Array | Int32Array): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

/**
 * Trains until the last step or until asked to stop; returns how it ended. Throws an Error for people when the data
 * cannot be used, a checkpoint cannot be read, or the loss is no longer a number.
 */
export async function train(
  engine: Engine,
  task: TrainingTask,
  control: TrainingControl,
): Promise<'finished' | 'stopped'> {
  const { config } = task;
  const { training, parallel } = config;
  const { steps, batchSize, sequenceLength: T, seed } = training;
  const perMicroBatch = batchSize / parallel.microBatches;

  const before = task.resume === undefined ? undefined : await readManifest(task.resume);
  const data = await openData(task, before, perMicroBatch, control).catch((error: unknown) => {
    if (error instanceof StopRequested) return undefined;
    throw error;
  });
  if (data === undefined) return 'stopped';
  const shape: GptShape = { ...config.model, vocabularySize: data.vocabularySize };

  control.phase('building the model');
  const specifications = parameterSpecifications(shape);
  const parameters = new ParameterSet(engine, specifications);
  const gradients = new ParameterSet(engine, specifications);
  const optimizer = new AdamW(engine, specifications, training.optimizer);
  const pass = new TrainingPass(engine, shape, perMicroBatch, T, training);
  const state = { specifications, parameters, m: optimizer.m, v: optimizer.v };

  let done = 0;
  if (task.resume !== undefined && before !== undefined) {
    await loadTrainingState(engine, task.resume, before, state);
    done = before.step;
  } else {
    initialise(engine, parameters, specifications, seed);
  }
  await engine.finish();

  control.event({
    event: 'start',
    run: task.run,
    config: config as unknown as Record<string, unknown>,
    parameters: specifications.reduce((total, { shape: size }) => total + size.reduce((a, b) => a * b, 1), 0),
    world: 1,
    ...(done > 0 ? { resumedFrom: done } : {}),
  });

  let saved = task.resume !== undefined ? done : -1;
  const checkpoint = async (): Promise<void> => {
    if (saved === done) return;
    control.phase('writing a checkpoint');
    try {
      const path = await saveCheckpoint(engine, join(task.directory, 'checkpoints'), state, {
        step: done,
        sequences: done * batchSize,
        config,
        shape,
        tokenizer: data.tokenizer,
        ...(data.corpusHash === undefined ? {} : { corpusHash: data.corpusHash }),
      });
      saved = done;
      control.event({ event: 'checkpoint', step: done, path });
    } catch (error) {
      // A full disk costs the checkpoint, not the run.
      const message = `The checkpoint of step ${done} could not be written: ${(error as Error).message}`;
      control.event({ event: 'warning', code: 'checkpoint-failed', message });
    }
  };

  let evaluated = -1;
  const evaluate = async (): Promise<void> => {
    if (data.evaluation.length === 0 || evaluated === done) return;
    control.phase('evaluating');
    let total = 0;
    let tokens = 0;
    for (const batch of data.evaluation) {
      pass.load(batch.tokens, batch.targets);
      pass.evaluate(parameters);
      total += sum(await engine.read(pass.lossesN));
      tokens += batch.targets.reduce((count, target) => count + (target >= 0 ? 1 : 0), 0);
      if (control.stopRequested()) return;
    }
    evaluated = done;
    control.event({ event: 'evaluation', step: done, loss: finiteOrNull(total / tokens) });
  };

  while (done < steps && !control.stopRequested()) {
    const start = performance.now();
    const step = done + 1;
    const rate = learningRate(step, steps, training.optimizer.learningRate, training.schedule);
    const losses: Promise<Float32Array | Int32Array>[] = [];
    for (let micro = 0; micro < parallel.microBatches; micro++) {
      const firstSequence = done * batchSize + micro * perMicroBatch;
      const batch = data.sequences.batch(firstSequence, perMicroBatch);
      pass.load(batch.tokens, batch.targets);
      pass.forwardBackward(parameters, gradients, 1 / (batchSize * T), { seed, firstSequence }, micro === 0);
      losses.push(engine.read(pass.lossesN));
    }
    optimizer.step(parameters, gradients, step, rate);
    const squaredNorm = engine.read(optimizer.squaredNorm);
    const loss = (await Promise.all(losses)).reduce((total, part) => total + sum(part), 0) / (batchSize * T);
    const norm = Math.sqrt((await squaredNorm)[0] ?? Number.NaN);
    const seconds = (performance.now() - start) / 1000;
    done = step;
    control.event({
      event: 'step',
      step,
      tokens: batchSize * T,
      loss: finiteOrNull(loss),
      learningRate: rate,
      gradientNorm: finiteOrNull(norm),
      seconds,
      tokensPerSecond: (batchSize * T) / seconds,
    });
    if (!Number.isFinite(loss)) {
      throw new Error(
        `The loss of step ${step} is ${loss}: training has diverged. Lower training.optimizer.learningRate (${training.optimizer.learningRate}) or lengthen training.schedule.warmupSteps (${training.schedule.warmupSteps}); the newest checkpoint is from before`,
      );
    }
    const due = (every: number): boolean => every > 0 && done % every === 0;
    if (due(training.evaluateEvery)) await evaluate();
    if (control.takeCheckpointRequest() || due(training.checkpointEvery)) await checkpoint();
  }
  const finished = done >= steps;
  if (finished) await evaluate();
  await checkpoint();
  return finished ? 'finished' : 'stopped';
}
