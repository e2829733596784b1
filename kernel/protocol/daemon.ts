/**
 * Requests to the training daemon and its answers: one JSON frame each, over CURVE-encrypted
 * DEALER -> ROUTER; events go out over PUB with the topic as the first frame.
 */
import { z } from 'zod';
import { rankState, runEvent, runSummary } from './events.ts';

/** Raised when a request or event changes shape; a client of another version is refused with advice. */
export const PROTOCOL_VERSION = 1;

const runId = z.string().min(1);

const sampling = {
  prompt: z.string(),
  /** Tokens to generate. */
  tokens: z.number().int().min(1).max(100_000).default(100),
  /** 0 = greedy. */
  temperature: z.number().min(0).max(100).default(0.8),
  /** Keep the k likeliest; 0 = all. */
  topK: z.number().int().min(0).default(0),
  /** Keep the smallest set whose probability reaches p; 1 = all. */
  topP: z.number().gt(0).max(1).default(1),
  seed: z.number().int().default(42),
};

/** Every request: its parameters and its result. `progress` is what partial answers carry. */
export const methods = {
  hello: {
    params: z.object({ protocol: z.number().int() }),
    result: z.object({
      version: z.string(),
      protocol: z.number().int(),
      pid: z.number().int(),
      home: z.string(),
    }),
  },
  'run.start': {
    params: z.object({
      /** Unresolved configuration; the daemon validates it and answers `invalid-configuration` with all problems. */
      config: z.unknown(),
      /** Absolute folder that relative paths start from. */
      baseDirectory: z.string(),
      /** The notebook or script that made it, to open later. */
      source: z.string().optional(),
    }),
    result: z.object({ run: runId }),
  },
  /** Continues a stopped, failed or interrupted run from its newest checkpoint under the same id. */
  'run.resume': { params: z.object({ run: runId }), result: z.object({ run: runId }) },
  'run.list': { params: z.object({}), result: z.array(runSummary) },
  /** `ranks`: how each rank stood when it last said so, in rank order; empty when the run does not go on. */
  'run.show': {
    params: z.object({ run: runId }),
    result: runSummary.extend({ config: z.unknown(), ranks: z.array(rankState).optional() }),
  },
  /**
   * Asks the ranks to end after the current step with a checkpoint; answers when they have ended. `force` ends them at
   * once: the steps since the newest checkpoint are lost.
   */
  'run.stop': { params: z.object({ run: runId, force: z.boolean().default(false) }), result: runSummary },
  /** Deletes an ended run: events, log and checkpoints. */
  'run.remove': { params: z.object({ run: runId }), result: z.object({}) },
  /** Stored events from `from` on, at most `limit`; `next` is where to go on. */
  'run.events': {
    params: z.object({
      run: runId,
      from: z.number().int().min(1).default(1),
      limit: z.number().int().min(1).max(50_000).default(5_000),
    }),
    result: z.object({ events: z.array(runEvent), next: z.number().int() }),
  },
  /** Lines that the ranks wrote to stdout and stderr, newest last. */
  'run.logs': {
    params: z.object({ run: runId, offset: z.number().int().min(0).default(0) }),
    /** `offset` is the byte where the next call goes on. */
    result: z.object({ text: z.string(), offset: z.number().int() }),
  },
  /** Writes a checkpoint of a running run after its current step. */
  'run.checkpoint': { params: z.object({ run: runId }), result: z.object({ path: z.string() }) },
  /**
   * Samples text from a run's newest weights (a running run first writes a checkpoint) or from a checkpoint
   * directory. Partial answers carry pieces of text as they come.
   */
  generate: {
    params: z.object({ target: z.string(), ...sampling }),
    progress: z.object({ text: z.string() }),
    result: z.object({ text: z.string(), tokens: z.number().int(), seconds: z.number() }),
  },
  /** Mean cross-entropy of a text file, nats per token. */
  evaluate: {
    params: z.object({ target: z.string(), text: z.string() }),
    result: z.object({ loss: z.number(), perplexity: z.number(), tokens: z.number().int() }),
  },
  /** Ends an earlier request of the same connection that is still being answered; it then fails as cancelled. */
  cancel: { params: z.object({ request: z.number().int() }), result: z.object({}) },
  'daemon.status': {
    params: z.object({}),
    result: z.object({
      pid: z.number().int(),
      version: z.string(),
      endpoints: z.object({ requests: z.string(), events: z.string() }),
      home: z.string(),
      uptimeSeconds: z.number(),
      running: z.number().int(),
    }),
  },
  /** Ends the daemon; refused while runs go on unless `force`, which stops them first. */
  'daemon.stop': { params: z.object({ force: z.boolean().default(false) }), result: z.object({}) },
} as const satisfies Record<string, { params: z.ZodType; result: z.ZodType; progress?: z.ZodType }>;

export type Method = keyof typeof methods;
/** Parameters as a caller writes them: defaults may be left out. */
export type Params<M extends Method> = z.input<(typeof methods)[M]['params']>;
export type Result<M extends Method> = z.output<(typeof methods)[M]['result']>;

/** `id` is the client's, unique per connection. */
export const request = z.object({ id: z.number().int(), method: z.string(), params: z.unknown().optional() });
export type Request = z.infer<typeof request>;

export const errorCode = z.enum([
  'invalid-request',
  'unknown-method',
  'invalid-parameters',
  'invalid-configuration',
  'not-found',
  'wrong-state',
  'protocol-mismatch',
  'failed',
]);
export type ErrorCode = z.infer<typeof errorCode>;

export const response = z.union([
  z.object({ id: z.number().int(), result: z.unknown() }),
  z.object({ id: z.number().int(), progress: z.unknown() }),
  z.object({
    id: z.number().int(),
    error: z.object({
      code: errorCode,
      message: z.string(),
      /** One line per problem, for `invalid-configuration`: key, value and what is allowed. */
      problems: z.array(z.string()).optional(),
    }),
  }),
]);
export type Response = z.infer<typeof response>;

/** PUB topics: `run/<id>` carries a RunEvent, `runs` carries a RunSummary or `{ removed: id }`. */
export const runTopic = (run: string): string => `run/${run}`;
export const RUNS_TOPIC = 'runs';
export const runsMessage = z.union([z.object({ summary: runSummary }), z.object({ removed: runId })]);
export type RunsMessage = z.infer<typeof runsMessage>;

/** `daemon.json` in GPT_LAB_HOME, mode 0600: how clients reach the daemon. Keys are Z85. */
export const connectionFile = z.object({
  format: z.literal('gpt-lab-daemon'),
  version: z.literal(1),
  pid: z.number().int(),
  /** Start time of the process as the system tells it, so that a recycled pid is recognised; null where unknown. */
  processStart: z.string().nullable(),
  release: z.string(),
  requests: z.string(),
  events: z.string(),
  serverPublicKey: z.string().length(40),
  clientPublicKey: z.string().length(40),
  clientSecretKey: z.string().length(40),
});
export type ConnectionFile = z.infer<typeof connectionFile>;
