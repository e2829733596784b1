/**
 * GPT Lab: train GPTs from notebook cells.
 *
 * ```ts
 * import { train, gpt2, text } from 'gpt-lab';
 * const run = await train({ model: gpt2('nano'), data: text('data/moby-dick.txt') });
 * run.plot();
 * await run.finished;
 * await run.generate('Call me', { tokens: 100 });
 * ```
 */
export { train } from './train.ts';
export { Plan, plan, Schedule } from './plan.ts';
export { runs } from './runs.ts';
export { NoSuchRun } from './find-run.ts';
export { Run } from './run.ts';
export { Generation } from './generation.ts';
export { dummyData, gpt2, text } from './configure.ts';
export { samples } from './samples.ts';
export { display } from './display.ts';
export { LabError } from './errors.ts';
export type { Gpt2Size } from './configure.ts';
export type { MachineName, PlanOptions, RankMemory } from './plan.ts';
export type { StepSeconds } from '../parallel/plan/time.ts';
export type { DisplayOptions, MimeBundle } from './host.ts';
export type {
  CheckpointEvent,
  EndEvent,
  Evaluation,
  EvaluationEvent,
  GenerateOptions,
  Metrics,
  RunEvent,
  RunState,
  RunSummary,
  StartEvent,
  StepEvent,
  WarningEvent,
} from './types.ts';
export type {
  DataConfiguration,
  EngineConfiguration,
  ModelConfiguration,
  OptimizerConfiguration,
  ParallelConfiguration,
  PresetName,
  RunConfiguration,
  ScheduleConfiguration,
  TrainingConfiguration,
} from '../protocol/configuration.ts';
