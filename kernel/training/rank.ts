/**
 * A rank process: gets its task over the IPC channel, reports what happens, and ends with it. When the channel
 * closes (the daemon is gone) it ends at once: a checkpoint is complete or absent, so nothing is left half done.
 */
import type { Engine } from '../engine/engine.ts';
import { openEngine } from '../engine/open.ts';
import { joinSharedMemory } from '../parallel/collective/shared-memory.ts';
import { Mesh } from '../parallel/mesh.ts';
import { World } from '../parallel/world.ts';
import { MEMORY_ADVICE, type RankCommand, type RankReport, type RankTask } from '../protocol/rank.ts';
import type { RunEventBody } from '../protocol/events.ts';
import { evaluateText, generate } from './generate.ts';
import { train } from './train.ts';

let stopRequested = false;
let checkpointRequested = false;
let started = false;
let join: (address: string) => void = () => undefined;
/** Where rank 0 is joined; told by whoever has started the ranks. */
const address = new Promise<string>((resolve) => (join = resolve));
/** How this rank is called in the run's log: several write into it. */
let logName = '';

/** Resolves when the report has been handed to the channel, so that an exit right after loses none. */
function report(message: RankReport): Promise<void> {
  return new Promise((resolve) => {
    if (!process.connected || process.send === undefined) resolve();
    else process.send(message, () => resolve());
  });
}

const tell = (message: RankReport): void => void report(message);

/** Writes into the run's log; stderr is left to what goes wrong, since a run's error quotes its end. */
function log(text: string): void {
  console.log(`${new Date().toISOString()} ${logName}${text}`);
}

function phase(text: string): void {
  log(text);
  tell({ type: 'phase', phase: text });
}

/** An event as the run's log has it; steps are too many. */
function logLine(event: RunEventBody): string | undefined {
  switch (event.event) {
    case 'start':
      return `${event.resumedFrom === undefined ? 'started' : `resumed after step ${event.resumedFrom}`}: ${event.parameters} parameters`;
    case 'evaluation':
      return `step ${event.step}: loss on the held-out text ${event.loss}`;
    case 'checkpoint':
      return `step ${event.step}: checkpoint ${event.path}`;
    case 'warning':
      return `warning ${event.code}: ${event.message}`;
    case 'end':
      return event.status;
    case 'step':
      return undefined;
  }
}

function happened(event: RunEventBody): Promise<void> {
  const line = logLine(event);
  if (line !== undefined) log(line);
  return report({ type: 'event', event });
}

/** Time between two reports of how this rank stands, ms. */
const STATE_INTERVAL = 1_000;

/** Reports once in a while how this rank stands; `stepDone` keeps it up to date, `end` reports a last time. */
function reportState(engine: Engine, world: World): { stepDone: (step: number) => void; end: () => void } {
  let step = 0;
  const start = performance.now();
  const waitedBefore = engine.waitedSeconds;
  const tellState = (): void => {
    const { bytes: tensorBytes, peakBytes: peakTensorBytes } = engine.memory;
    const doing = world.currentCalls().join('; ') || 'computing';
    const { seconds, receivedBytes } = world.communication();
    const elapsed = (performance.now() - start) / 1000;
    const shares = {
      communicationShare: seconds / elapsed,
      waitingShare: (engine.waitedSeconds - waitedBefore) / elapsed,
    };
    const memory = { tensorBytes, peakTensorBytes };
    const state = { rank: world.rank, step, doing, ...memory, ...shares, receivedBytes };
    tell({ type: 'state', state });
  };
  const timer = setInterval(tellState, STATE_INTERVAL);
  return {
    stepDone: (done) => {
      if (step === 0) tellState();
      step = done;
    },
    end: () => {
      clearInterval(timer);
      tellState();
    },
  };
}

type TrainTask = Extract<RankTask, { task: 'train' }>;

/** Takes this rank's place among the ranks of a run. */
async function joinWorld(engine: Engine, { rank = 0 }: TrainTask, mesh: Mesh): Promise<World> {
  if (mesh.size === 1) return new World(engine, mesh);
  if (rank > 0)
    return new World(
      engine,
      mesh,
      joinSharedMemory({ engine, rank, size: mesh.size, address: await address }),
    );
  const collective = joinSharedMemory({ engine, rank, size: mesh.size });
  await report({ type: 'address', address: collective.address });
  return new World(engine, mesh, collective);
}

async function perform(task: RankTask): Promise<void> {
  const threads = task.task === 'train' ? task.config.engine.threads : task.threads;
  const mesh = new Mesh(task.task === 'train' ? task.config.parallel : { data: 1, pipeline: 1, tensor: 1 });
  if (task.task === 'train' && mesh.size > 1) logName = `rank ${task.rank ?? 0}: `;
  const engine = openEngine({
    type: 'native',
    sharers: mesh.size,
    ...(threads === undefined ? {} : { threads }),
  });
  log(
    `${task.task} on ${engine.name}, ${engine.device}, ${engine.threads} thread${engine.threads === 1 ? '' : 's'}`,
  );
  switch (task.task) {
    case 'train': {
      const world = await joinWorld(engine, task, mesh);
      const state = reportState(engine, world);
      const control = {
        stepDone: state.stepDone,
        event: (event: RunEventBody) => void happened(event),
        phase,
        stopRequested: () => stopRequested,
        takeCheckpointRequest: () => {
          const requested = checkpointRequested;
          checkpointRequested = false;
          return requested;
        },
      };
      const status = await train(engine, task, control, world);
      state.end();
      await world.leave();
      if (world.rank === 0) await happened({ event: 'end', status });
      else await report({ type: 'result', result: status });
      break;
    }
    case 'generate': {
      const result = await generate(engine, task, (text) => tell({ type: 'text', text }));
      await report({ type: 'result', result });
      break;
    }
    case 'evaluate': {
      const warning = (_code: string, message: string): void => console.error(message);
      const result = await evaluateText(engine, task, { phase, warning, stopRequested: () => false });
      await report({ type: 'result', result });
      break;
    }
  }
  await engine.dispose();
}

async function main(task: RankTask): Promise<void> {
  let code = 0;
  try {
    await perform(task);
  } catch (error) {
    code = 1;
    const message = error instanceof Error ? error.message : String(error);
    const advice = message.startsWith('Out of memory') ? `. ${MEMORY_ADVICE}` : '';
    console.error(error);
    await report({ type: 'error', message: message + advice });
  }
  process.exit(code);
}

process.on('disconnect', () => process.exit(0));
// Ctrl-C in a terminal reaches the whole group; the daemon decides what becomes of its ranks.
process.on('SIGINT', () => undefined);
process.on('message', (command: RankCommand) => {
  switch (command.type) {
    case 'task':
      if (!started) void main(command.task);
      started = true;
      break;
    case 'join':
      join(command.address);
      break;
    case 'stop':
      stopRequested = true;
      tell({ type: 'stopping' });
      break;
    case 'checkpoint':
      checkpointRequested = true;
      break;
  }
});
if (!process.connected) {
  console.error('A rank is started by the training daemon: use `gpt-lab train`');
  process.exit(2);
}
