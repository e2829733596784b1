/** Trains with real rank processes, as the daemon would start them, without a daemon. */
import { type ChildProcess, fork } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { distFile } from '../../kernel/home.ts';
import { resolveConfiguration } from '../../kernel/protocol/configuration-schema.ts';
import type {
  ModelConfiguration,
  ParallelConfiguration,
  RunConfiguration,
  TrainingConfiguration,
} from '../../kernel/protocol/configuration.ts';
import type { RankState, RunEventBody } from '../../kernel/protocol/events.ts';
import type { RankCommand, RankReport, RankTask } from '../../kernel/protocol/rank.ts';
import { full } from '../full.ts';

/** Built, as the daemon starts it: that is several times as fast as from the sources. */
const program = distFile('kernel', 'rank.js');

/** Steps of a run that does not say how many. */
export const STEPS = full ? 50 : 8;

/** A run for the tests: small, and with everything that could go wrong in it. */
export interface SmallRun {
  readonly model?: ModelConfiguration;
  readonly training?: TrainingConfiguration;
  readonly parallel?: ParallelConfiguration;
  /** Folder of the run; default: one of its own. */
  readonly directory?: string;
  readonly resume?: string;
}

/** What came of it. */
export interface Trained {
  readonly events: readonly RunEventBody[];
  readonly losses: readonly number[];
  readonly norms: readonly number[];
  readonly evaluations: readonly (number | null)[];
  /** Folder of the newest checkpoint. */
  readonly checkpoint: string | undefined;
  /** How each rank stood at its end, in rank order. */
  readonly states: readonly RankState[];
}

/** The folder that runs of a test file share. */
export class Trainings {
  #folder: Promise<string> | undefined;
  readonly #running = new Set<ChildProcess>();

  /** A folder in it. */
  async folder(): Promise<string> {
    this.#folder ??= mkdtemp(join(tmpdir(), 'gpt-lab-parallel-'));
    return mkdtemp(join(await this.#folder, 'run-'));
  }

  /** Ends what still runs and removes all folders. */
  async end(): Promise<void> {
    for (const child of this.#running) child.kill('SIGKILL');
    if (this.#folder) await rm(await this.#folder, { recursive: true, force: true });
  }

  /** Trains to the end. Rejects with what the ranks say when one fails. */
  async train(run: SmallRun): Promise<Trained> {
    const directory = run.directory ?? (await this.folder());
    const cacheDirectory = await this.folder();
    const resolved = resolveConfiguration(smallConfiguration(run));
    if ('problems' in resolved) throw new Error(resolved.problems.join('\n'));
    const { config } = resolved;
    const { data, pipeline, tensor } = config.parallel;
    const task = { task: 'train', run: 'test', config, directory, cacheDirectory } as const;
    const resume = run.resume === undefined ? {} : { resume: run.resume };
    const tasks = Array.from({ length: data * pipeline * tensor }, (_, rank) => ({
      ...task,
      ...resume,
      rank,
    }));
    const { events, states } = await this.#run(tasks);
    const steps = events.flatMap((event) => (event.event === 'step' ? [event] : []));
    return {
      events,
      losses: steps.map(({ loss }) => loss ?? Number.NaN),
      norms: steps.map(({ gradientNorm }) => gradientNorm ?? Number.NaN),
      evaluations: events.flatMap((event) => (event.event === 'evaluation' ? [event.loss] : [])),
      checkpoint: events.findLast((event) => event.event === 'checkpoint')?.path,
      states,
    };
  }

  async #run(tasks: readonly RankTask[]): Promise<{ events: RunEventBody[]; states: RankState[] }> {
    const events: RunEventBody[] = [];
    const states: RankState[] = [];
    const failures: string[] = [];
    const send = (child: ChildProcess, command: RankCommand): void => {
      child.send(command, () => undefined);
    };
    const children = tasks.map(() =>
      fork(program, {
        execArgv: [],
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      }),
    );
    const ends = children.map((child, rank) => {
      this.#running.add(child);
      child.on('message', (report: RankReport) => {
        if (report.type === 'event') events.push(report.event);
        if (report.type === 'state') states[report.state.rank] = report.state;
        if (report.type === 'error') failures.push(report.message);
        if (report.type === 'address')
          for (const other of children.slice(1)) send(other, { type: 'join', address: report.address });
      });
      const task = tasks[rank];
      if (task) send(child, { type: 'task', task });
      return new Promise<void>((resolve) => {
        child.once('close', (code, signal) => {
          this.#running.delete(child);
          if (code !== 0) failures.push(`Rank ${rank} ended with ${signal ?? code}`);
          resolve();
        });
      });
    });
    await Promise.all(ends);
    if (failures.length > 0) throw new Error(failures.join('\n'));
    return { events, states };
  }
}

/** Six blocks' worth of corner cases: dropout, clipping, a tied head, a vocabulary that divides nothing. */
function smallConfiguration({ model, training, parallel }: SmallRun): RunConfiguration {
  const optimizer = { learningRate: 3e-3, clipNorm: 0.5 };
  return {
    model: { layers: 5, width: 24, heads: 3, contextLength: 16, vocabularySize: 259, dropout: 0.1, ...model },
    data: { text: [join(import.meta.dirname, '..', '..', 'CONTRIBUTING.md')], tokenizer: 'byte' },
    training: {
      ...{ steps: STEPS, batchSize: 12, sequenceLength: 12, evaluateEvery: 4, checkpointEvery: 0 },
      ...training,
      optimizer: { ...optimizer, ...training?.optimizer },
    },
    parallel: { ...parallel },
    engine: { threads: 1 },
  };
}

/** The largest relative difference. */
export function largestDifference(a: readonly number[], b: readonly number[]): number {
  if (a.length !== b.length) return Infinity;
  return Math.max(...a.map((value, index) => Math.abs(value / (b[index] ?? Number.NaN) - 1)));
}

/** Runs `act` on each of `items`, as many at once as there are CPUs. */
export async function inTurns<T>(items: readonly T[], act: (item: T) => Promise<void>): Promise<void> {
  const waiting = [...items];
  const worker = async (): Promise<void> => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await act(item);
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
}
