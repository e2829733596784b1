/** All rank processes of a run: started together, ended together, the cause of an end found among them. */
import type { RankReport, RankTask } from '../protocol/rank.ts';
import { isStopped } from './process-state.ts';
import { RankProcess, type RankEnd } from './rank-process.ts';

type TrainTask = Extract<RankTask, { task: 'train' }>;

/** Time that ranks get to end by themselves once one of them has failed, ms: they see it within fractions of a second. */
const FOLLOWING = 2_000;

/** How often it is looked for ranks that a signal has stopped, ms. */
const LOOKING = 1_000;
/** Looks in a row that find a rank stopped while others go on, after which it counts as lost. */
const LOOKS = 5;

/** The ranks of a run. */
export class RankGroup {
  /** Resolves when all processes have ended and all that they reported has been handed on. */
  readonly ended: Promise<RankEnd>;
  readonly #ranks: readonly RankProcess[];
  readonly #stoppedFor = new Map<RankProcess, number>();
  #killed = false;

  /** Starts `world` processes; their output goes to the file at `log`. Events come from them as they happen. */
  constructor(
    task: Omit<TrainTask, 'rank'>,
    world: number,
    log: string,
    onReport: (report: RankReport) => void,
  ) {
    const hear = (report: RankReport): void => {
      if (report.type === 'address') this.#join(report.address);
      else onReport(report);
    };
    this.#ranks = Array.from({ length: world }, (_, rank) => new RankProcess({ ...task, rank }, log, hear));
    const looking = world > 1 ? setInterval(() => this.#failStopped(), LOOKING) : undefined;
    this.ended = this.#watch().finally(() => clearInterval(looking));
  }

  /** In rank order, without those that the system has refused to start. */
  get pids(): number[] {
    return this.#ranks.flatMap(({ pid }) => (pid === undefined ? [] : [pid]));
  }

  /** Asks for a checkpoint: one rank tells the others, so that all write the same. */
  requestCheckpoint(): void {
    this.#ranks[0]?.send({ type: 'checkpoint' });
  }

  /** Asks all ranks to end after their current step. */
  stop(): void {
    for (const rank of this.#ranks) rank.stop();
  }

  /** Ends all processes at once. */
  kill(): void {
    this.#killed = true;
    for (const rank of this.#ranks) rank.kill();
  }

  /** The address of rank 0 has come: the others join it. */
  #join(address: string): void {
    for (const rank of this.#ranks.slice(1)) rank.send({ type: 'join', address });
  }

  /** A rank that is stopped would have the others wait for ever; where all are, somebody is letting the run rest. */
  #failStopped(): void {
    const stopped = this.#ranks.filter(({ pid }) => pid !== undefined && isStopped(pid));
    for (const rank of this.#ranks) {
      const looks = stopped.includes(rank) ? (this.#stoppedFor.get(rank) ?? 0) + 1 : 0;
      this.#stoppedFor.set(rank, looks);
      if (looks < LOOKS || stopped.length === this.#ranks.length) continue;
      rank.fail(
        `was stopped by a signal for ${(LOOKS * LOOKING) / 1000} s while the other ranks waited for it`,
      );
    }
  }

  async #watch(): Promise<RankEnd> {
    let deadline: NodeJS.Timeout | undefined;
    /** Ranks that we ended because another had failed. */
    const followers = new Set<RankProcess>();
    const endOthers = (): void => {
      for (const rank of this.#ranks) {
        followers.add(rank);
        rank.kill();
      }
    };
    const ends = await Promise.all(
      this.#ranks.map(async (rank, index) => {
        const end = await rank.ended;
        if (end.error !== undefined || end.killed) deadline ??= setTimeout(endOthers, FOLLOWING);
        return { ...end, index, follows: end.killed && followers.has(rank) };
      }),
    );
    clearTimeout(deadline);
    const own = ends.filter(({ follows }) => !follows);
    const killed = this.#killed || own.some((end) => end.killed);
    const failed = own.flatMap(({ error, ...end }) => (error === undefined ? [] : [{ ...end, error }]));
    const cause = findCause(failed.filter((end) => !end.killed));
    if (cause === undefined) return { killed };
    const error = describeCause(cause, failed, this.#ranks.length);
    return { error, killed, ...(cause.silent ? { silent: true } : {}) };
  }
}

/** A rank that failed. */
interface Failure {
  readonly error: string;
  readonly index: number;
  readonly silent?: boolean;
}

/** What a rank says whose work failed because another was gone. */
const FOLLOWS_ANOTHER = /rank \d+ \(pid \d+\)|the collective had failed before|as another rank/;

/** The first cause among the failures: a rank that died without a word, or else one that does not speak of another. */
function findCause(failures: readonly Failure[]): Failure | undefined {
  return (
    failures.find(({ silent }) => silent) ??
    failures.find(({ error }) => !FOLLOWS_ANOTHER.test(error)) ??
    failures[0]
  );
}

/** The cause, named by its rank, and where the others were when it happened. */
function describeCause(cause: Failure, failures: readonly Failure[], world: number): string {
  // What all of them say of the run as a whole is no one rank's doing.
  if (failures.length === world && failures.every(({ error }) => error === cause.error)) return cause.error;
  const named = /^Rank \d/.test(cause.error) ? cause.error : `Rank ${cause.index}: ${cause.error}`;
  const [other] = failures.filter((each) => each !== cause && FOLLOWS_ANOTHER.test(each.error));
  return other === undefined ? named : `${named}\n${other.error}`;
}
