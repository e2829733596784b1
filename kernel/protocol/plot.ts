/** What a live plot is made of: its saved form in a notebook and the messages that feed it while it lives. */
import { z } from 'zod';
import { runEvent, runState } from './events.ts';

export { PLOT_MIME } from './plot-mime.ts';

/** Columns of numbers of one length; null where a value is not finite. */
export const plotSeries = z.object({
  step: z.array(z.number()),
  loss: z.array(z.number().nullable()),
  learningRate: z.array(z.number()),
  tokensPerSecond: z.array(z.number()),
});
export const evaluationSeries = z.object({ step: z.array(z.number()), loss: z.array(z.number().nullable()) });

/** The JSON of a plot output. Without `snapshot` it only names the run, and the viewer asks for its events. */
export const plotOutput = z.object({
  format: z.literal('gpt-lab-plot'),
  version: z.literal(1),
  run: z.string(),
  name: z.string(),
  steps: z.number().int(),
  /** Saved when the run has ended: min/max-decimated, so that spikes stay. */
  snapshot: z
    .object({
      state: runState,
      train: plotSeries,
      evaluation: evaluationSeries,
      lastSequence: z.number().int(),
    })
    .optional(),
});
export type PlotOutput = z.infer<typeof plotOutput>;

/** Renderer to extension. */
export const plotRequest = z.discriminatedUnion('type', [
  /** Send all events of `run` from number `from`, then new ones as they come. */
  z.object({ type: z.literal('subscribe'), plot: z.string(), run: z.string(), from: z.number().int() }),
  z.object({ type: z.literal('unsubscribe'), plot: z.string() }),
  z.object({ type: z.literal('stop'), run: z.string() }),
]);
export type PlotRequest = z.infer<typeof plotRequest>;

/** Extension to renderer. `plot` is the subscriber's own id. */
export const plotMessage = z.discriminatedUnion('type', [
  z.object({ type: z.literal('events'), plot: z.string(), events: z.array(runEvent) }),
  /** The run or the daemon cannot be reached; `reason` is for people. */
  z.object({ type: z.literal('unavailable'), plot: z.string(), reason: z.string() }),
]);
export type PlotMessage = z.infer<typeof plotMessage>;
