/** What the side bar, the status bar and notifications say about a run. Pure: no editor in here. */
import type { RunState, RunSummary } from '../../kernel/protocol/events.ts';
import { formatCount, formatDuration, formatLoss } from '../../kernel/protocol/format.ts';

/** Translates a text with `{0}`-style placeholders: `vscode.l10n.t` in the editor. */
export type Translate = (text: string, ...values: (string | number)[]) => string;

/** Fills placeholders without translating. */
export const untranslated: Translate = (text, ...values) =>
  text.replace(/\{(\d+)\}/g, (whole, index: string) => String(values[Number(index)] ?? whole));

/** Texts about runs in the user's language. */
export class RunText {
  readonly #t: Translate;

  constructor(translate: Translate) {
    this.#t = translate;
  }

  /** One word for a state. */
  state(state: RunState): string {
    const t = this.#t;
    const words: Record<RunState, string> = {
      running: t('running'),
      finished: t('finished'),
      stopped: t('stopped'),
      failed: t('failed'),
      interrupted: t('interrupted'),
    };
    return words[state];
  }

  /** Beside the run's name in the side bar: progress, loss and time, whatever of it is known. */
  description(run: RunSummary, now: number): string {
    if (run.state !== 'running') {
      return join([
        this.state(run.state),
        run.loss === null ? undefined : this.#t('loss {0}', formatLoss(run.loss)),
        run.endedAt === null ? undefined : this.#age(now - run.endedAt),
      ]);
    }
    if (run.step === 0) return run.phase ?? this.#t('starting');
    return join([
      `${percent(run)} %`,
      this.#t('loss {0}', formatLoss(run.loss)),
      this.timeLeft(run) ?? run.phase,
    ]);
  }

  #age(milliseconds: number): string {
    return milliseconds < 60_000 ? this.#t('just now') : this.#t('{0} ago', roughly(milliseconds));
  }

  /** `12 min left`; undefined where it is not known. */
  timeLeft(run: RunSummary): string | undefined {
    return run.secondsLeft === null ? undefined : this.#t('{0} left', formatDuration(run.secondsLeft));
  }

  /** Label and value of everything that is known about a run, for the tooltip. */
  facts(run: RunSummary): [label: string, value: string][] {
    const t = this.#t;
    const facts: [string, string | undefined][] = [
      [
        t('State'),
        run.phase === undefined ? this.state(run.state) : `${this.state(run.state)}: ${run.phase}`,
      ],
      [t('Step'), t('{0} of {1} ({2} %)', run.step, run.steps, percent(run))],
      [t('Training loss'), run.loss === null ? undefined : formatLoss(run.loss)],
      [t('Validation loss'), run.validationLoss === null ? undefined : formatLoss(run.validationLoss)],
      [t('Tokens/s'), run.tokensPerSecond === null ? undefined : formatCount(run.tokensPerSecond)],
      [t('Time left'), run.secondsLeft === null ? undefined : formatDuration(run.secondsLeft)],
      [t('Took'), run.endedAt === null ? undefined : formatDuration((run.endedAt - run.createdAt) / 1000)],
      [t('Checkpoint'), run.checkpoint ?? undefined],
      [t('Id'), run.run],
    ];
    return facts.filter((fact): fact is [string, string] => fact[1] !== undefined);
  }

  /** The status bar while runs go on; undefined when none does. With several, the one that ends first speaks. */
  status(runs: readonly RunSummary[]): string | undefined {
    const running = runs.filter(({ state }) => state === 'running');
    const next = running.toSorted((a, b) => (a.secondsLeft ?? Infinity) - (b.secondsLeft ?? Infinity))[0];
    if (!next) return undefined;
    return join([
      running.length > 1 ? this.#t('{0} runs', running.length) : undefined,
      next.step === 0 ? (next.phase ?? this.#t('starting')) : `${next.step}/${next.steps}`,
      next.loss === null ? undefined : formatLoss(next.loss),
      next.step === 0 ? undefined : this.timeLeft(next),
    ]);
  }

  /** What a notification says of a run that ended. */
  ended(run: RunSummary): string {
    const t = this.#t;
    const took = formatDuration(((run.endedAt ?? run.createdAt) - run.createdAt) / 1000);
    const validation =
      run.validationLoss === null ? undefined : t('validation loss {0}', formatLoss(run.validationLoss));
    const losses = join(
      [run.loss === null ? undefined : t('loss {0}', formatLoss(run.loss)), validation],
      ', ',
    );
    const head =
      run.state === 'failed'
        ? t('“{0}” failed at step {1} of {2}', run.name, run.step, run.steps)
        : run.state === 'finished'
          ? t('“{0}” finished after {1}', run.name, took)
          : t('“{0}” was {1} at step {2} of {3}', run.name, this.state(run.state), run.step, run.steps);
    return join([head, run.error ?? losses], ': ');
  }
}

/** Progress in whole percent, rounded down: 100 only when all steps are done. */
export function percent(run: Pick<RunSummary, 'step' | 'steps'>): number {
  return run.steps > 0 ? Math.floor((100 * run.step) / run.steps) : 0;
}

/** Words that menus test for: what can be done with a run. */
export function contextValue(run: RunSummary): string {
  if (run.state === 'running') return 'run running';
  return run.state !== 'finished' && run.checkpoint !== null ? 'run ended resumable' : 'run ended';
}

/** Running runs first, then the newest. */
export function sortRuns(runs: Iterable<RunSummary>): RunSummary[] {
  const rank = (run: RunSummary): number => (run.state === 'running' ? 0 : 1);
  return [...runs].sort((a, b) => rank(a) - rank(b) || b.createdAt - a.createdAt);
}

/** The largest unit of a duration in ms: an age needs no more. */
function roughly(milliseconds: number): string {
  const seconds = milliseconds / 1000;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

function join(parts: (string | undefined)[], separator = ' · '): string {
  return parts.filter((part) => part !== undefined && part !== '').join(separator);
}
