/** One run, top to bottom: data, model, optimizer, the loop of steps, evaluations and checkpoints. */
import { join } from 'node:path';
import type { Engine } from '../engine/engine.ts';
import type { ResolvedConfiguration } from '../protocol/configuration.ts';
import type { RunEventBody } from '../protocol/events.ts';
import { Mesh } from '../parallel/mesh.ts';
import { ParallelModel } from '../parallel/parallel-model.ts';
import { World } from '../parallel/world.ts';
import { parameterCount } from '../protocol/presets.ts';
import { checkpointName } from './checkpoint.ts';
import { CheckpointWriter } from './checkpoint-writer.ts';
import { Divergence } from './divergence.ts';
import type { GptShape } from './parameters.ts';
import { Beginnings } from './restore.ts';
import { openData } from './run-data.ts';
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

const finiteOrNull = (value: number): number | null => (Number.isFinite(value) ? value : null);

/** Times that a run goes back to the same checkpoint. */
const MAXIMUM_ROLLBACKS = 3;

/**
 * Trains until the last step or until asked to stop; returns how it ended. Throws an Error for people when the data
 * cannot be used, a checkpoint cannot be read, or training has diverged. All ranks of `world` call it.
 */
export async function train(
  engine: Engine,
  task: TrainingTask,
  control: TrainingControl,
  world: World = new World(engine, new Mesh({ data: 1, pipeline: 1, tensor: 1 })),
): Promise<'finished' | 'stopped'> {
  const { config } = task;
  const { training, parallel } = config;
  const { steps, batchSize, sequenceLength: T, seed, onDivergence } = training;
  const perMicroBatch = batchSize / (parallel.data * parallel.microBatches);
  const checkpoints = join(task.directory, 'checkpoints');
  const speaks = world.rank === 0;
  const event = (body: RunEventBody): void => {
    if (speaks) control.event(body);
  };
  const warn = (code: string, message: string): void => control.event({ event: 'warning', code, message });
  const phase = (text: string): void => {
    if (speaks) control.phase(text);
  };
  const stopRequested = async (): Promise<boolean> => (await world.any(control.stopRequested()))[0] ?? false;

  const beginnings = new Beginnings(checkpoints, world, (problem) =>
    warn('checkpoint-damaged', `${problem}: the one before it is used`),
  );
  const before = task.resume === undefined ? undefined : await beginnings.find(task.resume);
  const data = await openData(task, before?.manifest, perMicroBatch, control, world);
  if (data === undefined) return 'stopped';
  const shape: GptShape = { ...config.model, vocabularySize: data.vocabularySize };

  phase('building the model');
  const model = new ParallelModel(engine, shape, config, world, task.directory);
  /** Steps that are done, and the number of the first sequence that was not taken yet. */
  let done = 0;
  let sequences = 0;
  if (before === undefined) model.initialise(seed);
  else {
    const { manifest } = await beginnings.load(engine, before, model.piecesToLoad());
    ({ step: done, sequences } = manifest);
  }
  await engine.finish();

  const tellStart = (): void =>
    event({
      event: 'start',
      run: task.run,
      config: config as unknown as Record<string, unknown>,
      parameters: parameterCount(shape),
      world: world.size,
      ...(done > 0 ? { resumedFrom: done } : {}),
    });
  tellStart();

  const writer = new CheckpointWriter(engine, checkpoints, world, {
    written: (step, path) => event({ event: 'checkpoint', step, path }),
    // A full disk costs the checkpoint, not the run.
    failed: (step, reason) =>
      warn('checkpoint-failed', `The checkpoint of step ${step} could not be written: ${reason}`),
  });
  if (before !== undefined) writer.newest = done;
  const state = { config, shape, tokenizer: data.tokenizer };
  const corpus = data.corpusHash === undefined ? {} : { corpusHash: data.corpusHash };
  const checkpoint = async ({ waits }: { waits: boolean }): Promise<void> => {
    phase('writing a checkpoint');
    const facts = { ...state, ...corpus, step: done, sequences };
    if (waits) await writer.write(model.piecesToSave(), facts);
    else await writer.begin(model.piecesToSave(), facts);
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

  const divergence = new Divergence(training);
  /** Of the checkpoint that the run last went back to. */
  let rollbacks = { step: -1, count: 0 };
  /** Goes back to the newest checkpoint; the sequences since are not taken again (Chowdhery et al. 2022, section 5.1). */
  const rollBack = async (problem: string): Promise<void> => {
    await writer.finish();
    const from = await beginnings.find(join(checkpoints, checkpointName(writer.newest)));
    model.prepareLoading();
    const { manifest } = await beginnings.load(engine, from, model.piecesToLoad());
    rollbacks = { step: manifest.step, count: rollbacks.step === manifest.step ? rollbacks.count + 1 : 1 };
    if (rollbacks.count > MAXIMUM_ROLLBACKS)
      throw new Error(
        `${problem}. The run went back to step ${manifest.step} ${MAXIMUM_ROLLBACKS} times, and did not get further: ${advice(training)}`,
      );
    if (speaks)
      warn(
        'rolled-back',
        `${problem}: the run goes back to step ${manifest.step}, and on with later sequences`,
      );
    done = manifest.step;
    evaluated = -1;
    divergence.forget();
    tellStart();
  };

  if (onDivergence === 'rollback' && before === undefined) {
    await checkpoint({ waits: true });
  }
  let stopping = await stopRequested();
  while (done < steps && !stopping) {
    const start = performance.now();
    const step = done + 1;
    const rate = learningRate(step, steps, training.optimizer.learningRate, training.schedule);
    let wrong: string | undefined;
    const result = await model.step(step, rate, data.sequences, sequences, {
      judgesFirst: onDivergence === 'skip',
      accept: ({ loss, gradientNorm }) => {
        wrong = divergence.judge({ loss: loss / (batchSize * T), gradientNorm });
        return wrong === undefined;
      },
    });
    const loss = result.loss / (batchSize * T);
    const seconds = (performance.now() - start) / 1000;
    done = step;
    sequences += batchSize;
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
    if (wrong !== undefined) {
      const problem = `The loss of step ${step} ${wrong}`;
      if (onDivergence === 'stop')
        throw new Error(
          `${problem}: training has diverged. ${advice(training)}; the newest checkpoint is from before`,
        );
      if (onDivergence === 'rollback') await rollBack(problem);
      else if (speaks && onDivergence === 'skip') warn('step-skipped', `${problem}: its update was left out`);
      else if (speaks) warn('loss-spike', `${problem}: the run goes on`);
    }
    const due = (every: number): boolean => every > 0 && done % every === 0 && wrong === undefined;
    if (due(training.evaluateEvery)) await evaluate();
    const [stop = false, asked = false, writing = false] = await world.any(
      control.stopRequested(),
      control.takeCheckpointRequest(),
      writer.isWriting,
    );
    stopping = stop;
    if (!writing) await writer.finish();
    if (asked || due(training.checkpointEvery)) {
      // Whoever has asked waits for it.
      await checkpoint({ waits: asked });
      stopping = await stopRequested();
    }
  }
  const finished = done >= steps;
  if (finished) await evaluate();
  await checkpoint({ waits: true });
  return finished ? 'finished' : 'stopped';
}

/** What to do about a loss that rises. */
function advice({ optimizer, schedule }: ResolvedConfiguration['training']): string {
  return `Lower training.optimizer.learningRate (${optimizer.learningRate}) or lengthen training.schedule.warmupSteps (${schedule.warmupSteps})`;
}
