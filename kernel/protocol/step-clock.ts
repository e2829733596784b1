/** When a run will be done, reckoned from the events of its steps: the same figure wherever it is shown. */
import type { RunEvent } from './events.ts';

/** Steps that the speed is taken from: enough to spread evaluations and checkpoints over, few enough to follow a change. */
const WINDOW = 50;

/** Follows the steps of one run. */
export class StepClock {
  /** Steps and the times of their ends (ms), oldest first, since the newest start. */
  #steps: { step: number; time: number }[] = [];

  /** Takes the run's events in order. */
  take(event: RunEvent): void {
    // Time between a stop and a resumption says nothing of the speed.
    if (event.event === 'start' || event.event === 'end') this.#steps = [];
    if (event.event !== 'step') return;
    this.#steps.push({ step: event.step, time: event.time });
    if (this.#steps.length > WINDOW + 1) this.#steps.shift();
  }

  /** Seconds until step `steps` has been done, evaluations and checkpoints included; null before there are two steps. */
  secondsLeft(steps: number): number | null {
    const first = this.#steps[0];
    const last = this.#steps.at(-1);
    if (!first || !last || last.step === first.step) return null;
    const secondsPerStep = (last.time - first.time) / (last.step - first.step) / 1000;
    return Math.max(0, (steps - last.step) * secondsPerStep);
  }
}
