/** A job's schedule as a picture. */
import { scheduleSvg, scheduleText } from '../pipeline/draw.ts';
import { pipelineSchedule } from '../pipeline/schedule.ts';
import { simulate, type Timeline } from '../pipeline/simulate.ts';
import type { Job } from './job.ts';

/** Micro-batches that a picture shows at least where there are so many; more tell nothing new. */
const DRAWN = 16;

/** A schedule's operations with the times of equal stages, a forward being 1. */
export interface ScheduleChart {
  readonly timeline: Timeline;
  /** Micro-batches that are drawn, of how many. */
  readonly drawn: number;
  readonly microBatches: number;
}

/** The schedule of a layout, as much of it as can be drawn. Throws a RangeError where there is none. */
export function scheduleChart({
  layout: { schedule, pipeline: stages, chunks, microBatches },
}: Job): ScheduleChart {
  // Whole groups of stages, which interleaving needs; two of them show warm-up, steady state and drain.
  const groups = Math.max(Math.ceil(DRAWN / stages), stages <= DRAWN ? 2 : 1);
  const drawn = Math.min(microBatches, groups * stages);
  const timeline = simulate(pipelineSchedule(schedule, { stages, microBatches: drawn, chunks }));
  return { timeline, drawn, microBatches };
}

/** What the picture leaves out; empty when nothing. */
function note({ drawn, microBatches }: ScheduleChart): string {
  return drawn < microBatches ? `the first ${drawn} of ${microBatches} micro-batches alone` : '';
}

/** For a terminal. */
export function chartText(chart: ScheduleChart, options: { color: boolean }): string {
  const left = note(chart);
  return scheduleText(chart.timeline, options) + (left === '' ? '' : `\nDrawn: ${left}`);
}

/** For a page. */
export function chartSvg(chart: ScheduleChart): string {
  return scheduleSvg(chart.timeline);
}
