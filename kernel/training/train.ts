/** One run, top to bottom: data, model, optimizer, the loop of steps, evaluations and checkpoints. */
import { basename, join } from 'node:path';
import type { Engine } from '../engine/engine.ts';
import type { ResolvedConfiguration } from '../protocol/configuration.ts';
import type { RunEventBody } from '../protocol/events.ts';
import { Mesh } from '../parallel/mesh.ts';
import { ParallelModel } from '../parallel/parallel-model.ts';
import { World } from '../parallel/world.ts';
import { parameterCount } from '../protocol/presets.ts';
import {
  completeCheckpoints,
  loadPieces,
  readManifest,
  saveCheckpoint,
  type Manifest,
} from './checkpoint.ts';
import { DummySequences, evaluationBatches, TrainingSequences, type Batch } from './data/batches.ts';
import { buildCorpus, StopRequested, type CorpusReporter } from './data/corpus.ts';
import { openTokenizer, type TokenizerSpecification } from './data/tokenizer.ts';
import type { GptShape } from './parameters.ts';
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

/** How a rank tells what happens and hears what is asked of it. The first rank speaks for all. */
export interface TrainingControl {
  event(event: RunEventBody): void;
  phase(text: string): void;
  /** A step is done, on any rank. */
  stepDone?(step: number): void;
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

/** Asks one rank after the other where `first` prepares what the others then find: the cache of tokens. */
async function firstThenOthers<T>(world: World, open: () => Promise<T>): Promise<T | undefined> {
  const attempt = async (): Promise<T | undefined> =>
    open().catch((error: unknown) => {
      if (error instanceof StopRequested) return undefined;
      throw error;
    });
  const first = world.rank === 0 ? await attempt() : undefined;
  const [stopped] = await world.any(world.rank === 0 && first === undefined);
  if (stopped || world.rank === 0) return stopped ? undefined : first;
  return open();
}

/** The checkpoint that a run goes on from. */
interface Beginning {
  readonly path: string;
  readonly manifest: Manifest;
}

function passedOver(problem: string): RunEventBody {
  const message = `${problem}: the one before it is used`;
  return { event: 'warning', code: 'checkpoint-damaged', message };
}

/**
 * Reads the manifest of `resume`, or of the newest checkpoint before it that is not damaged: what is wrong with those passed
 * over is told. Throws the first problem when none is left.
 */
async function beginning(
  resume: string,
  directory: string,
  unusable: ReadonlySet<string>,
  tell: (problem: string) => void,
): Promise<Beginning> {
  const older = (await completeCheckpoints(directory)).filter((path) => basename(path) < basename(resume));
  let first: Error | undefined;
  for (const path of [resume, ...older]) {
    if (unusable.has(path)) continue;
    try {
      return { path, manifest: await readManifest(path) };
    } catch (error) {
      first ??= error as Error;
      tell((error as Error).message);
    }
  }
  throw first ?? new Error(`No checkpoint before ${resume} can be used`);
}

/**
 * Trains until the last step or until asked to stop; returns how it ended. Throws an Error for people when the data
 * cannot be used, a checkpoint cannot be read, or the loss is no longer a number. All ranks of `world` call it.
 */
export async function train(
  engine: Engine,
  task: TrainingTask,
  control: TrainingControl,
  world: World = new World(engine, new Mesh({ data: 1, pipeline: 1, tensor: 1 })),
): Promise<'finished' | 'stopped'> {
  const { config } = task;
  const { training, parallel } = config;
  const { steps, batchSize, sequenceLength: T, seed } = training;
  const perMicroBatch = batchSize / (parallel.data * parallel.microBatches);
  const checkpoints = join(task.directory, 'checkpoints');
  const speaks = world.rank === 0;
  const event = (body: RunEventBody, tells = speaks || body.event === 'warning'): void => {
    if (tells) control.event(body);
  };
  const phase = (text: string): void => {
    if (speaks) control.phase(text);
  };
  const damaged = (problem: string): void => event(passedOver(problem), speaks);
  const stopRequested = async (): Promise<boolean> => (await world.any(control.stopRequested()))[0] ?? false;

  let before =
    task.resume === undefined ? undefined : await beginning(task.resume, checkpoints, new Set(), damaged);
  const data = await firstThenOthers(world, () => openData(task, before?.manifest, perMicroBatch, control));
  if (data === undefined) return 'stopped';
  const shape: GptShape = { ...config.model, vocabularySize: data.vocabularySize };

  phase('building the model');
  const model = new ParallelModel(engine, shape, config, world);
  if (before === undefined) model.initialise(seed);
  const unusable = new Set<string>();
  while (before !== undefined) {
    const { path, manifest }: Beginning = before;
    const problem = await loadPieces(engine, path, manifest, model.piecesToLoad())
      .then(() => engine.finish())
      .then(() => undefined)
      .catch((error: unknown) => error as Error);
    const failed = (await world.gather(Int32Array.of(problem === undefined ? 0 : 1))).indexOf(1);
    if (failed < 0) break;
    unusable.add(path);
    const reason = problem ?? new Error(`The checkpoint ${path} is damaged, as another rank says`);
    before = await beginning(path, checkpoints, unusable, damaged).catch(() => {
      throw reason;
    });
    if (failed === world.rank) control.event(passedOver(reason.message));
  }
  let done = before?.manifest.step ?? 0;
  await engine.finish();

  event({
    event: 'start',
    run: task.run,
    config: config as unknown as Record<string, unknown>,
    parameters: parameterCount(shape),
    world: world.size,
    ...(done > 0 ? { resumedFrom: done } : {}),
  });

  let saved = before === undefined ? -1 : done;
  const checkpoint = async (): Promise<void> => {
    if (saved === done) return;
    phase('writing a checkpoint');
    try {
      const manifest = {
        ...{ step: done, sequences: done * batchSize, config, shape, tokenizer: data.tokenizer },
        ...(data.corpusHash === undefined ? {} : { corpusHash: data.corpusHash }),
      };
      const path = await saveCheckpoint(engine, checkpoints, model.piecesToSave(), manifest, world);
      saved = done;
      event({ event: 'checkpoint', step: done, path });
    } catch (error) {
      // A full disk costs the checkpoint, not the run.
      const message = `The checkpoint of step ${done} could not be written: ${(error as Error).message}`;
      event({ event: 'warning', code: 'checkpoint-failed', message });
    }
  };

  let evaluated = -1;
  const evaluate = async (): Promise<void> => {
    if (data.evaluation.length === 0 || evaluated === done) return;
    phase('evaluating');
    let total = 0;
    let tokens = 0;
    for (let first = 0; first < data.evaluation.length; first += model.evaluationRound) {
      const batches = data.evaluation.slice(first, first + model.evaluationRound);
      total += await model.evaluate(batches);
      for (const { targets } of batches) for (const target of targets) if (target >= 0) tokens++;
      if (await stopRequested()) return;
    }
    evaluated = done;
    event({ event: 'evaluation', step: done, loss: finiteOrNull(total / tokens) });
  };

  let stopping = await stopRequested();
  while (done < steps && !stopping) {
    const start = performance.now();
    const step = done + 1;
    const rate = learningRate(step, steps, training.optimizer.learningRate, training.schedule);
    const result = await model.step(step, rate, data.sequences, done * batchSize);
    const loss = result.loss / (batchSize * T);
    const seconds = (performance.now() - start) / 1000;
    done = step;
    control.stepDone?.(step);
    event({
      event: 'step',
      step,
      tokens: batchSize * T,
      loss: finiteOrNull(loss),
      learningRate: rate,
      gradientNorm: finiteOrNull(result.gradientNorm),
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
    const [stop = false, asked = false] = await world.any(
      control.stopRequested(),
      control.takeCheckpointRequest(),
    );
    stopping = stop;
    if (asked || due(training.checkpointEvery)) {
      await checkpoint();
      stopping = await stopRequested();
    }
  }
  const finished = done >= steps;
  if (finished) await evaluate();
  await checkpoint();
  return finished ? 'finished' : 'stopped';
}
