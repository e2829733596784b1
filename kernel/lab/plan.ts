/** Forecasts of training jobs, as cells hold them. */
import { inspect } from 'node:util';
import type { RunConfiguration } from '../protocol/configuration.ts';
import { chartSvg, chartText, scheduleChart, type ScheduleChart } from '../parallel/plan/chart.ts';
import type { Forecast } from '../parallel/plan/forecast.ts';
import { batchEquation, worldEquation, worldSize } from '../parallel/plan/job.ts';
import type { StageMemory } from '../parallel/plan/memory.ts';
import { findMachine, layoutSections, machineNames, planConfiguration } from '../parallel/plan/plan.ts';
import { bestLayouts } from '../parallel/plan/search.ts';
import type { StepSeconds } from '../parallel/plan/time.ts';
import { LabError } from './errors.ts';
import { DISPLAY } from './host.ts';
import type { MimeBundle } from './host.ts';
import {
  NONE_FITS,
  describeFit,
  describeJob,
  describeSpeed,
  layoutRows,
  memoryRows,
  ranksOfStage,
  timeRows,
} from './plan-text.ts';
import { withSettings } from './settings.ts';
import { escapeHtml, htmlTable, textTable } from './table.ts';

/** Machines that can be planned for: the one that this runs on, or nodes of eight GPUs, as many as there are ranks. */
export type MachineName = 'this' | 'a100-40gb' | 'a100-80gb' | 'h100' | 'h200' | 'b200';

/** What a plan is for. */
export interface PlanOptions {
  /** Default `this`, which is measured once. */
  machine?: MachineName;
}

/** Memory of the ranks of one pipeline stage, which are alike: bytes by part, at the worst moment of the schedule. */
export interface RankMemory extends StageMemory {
  /** The ranks of this stage. */
  readonly ranks: { readonly first: number; readonly last: number };
}

/**
 * Forecasts memory per rank and time per step of a job; nothing is started. What this version cannot run can be planned
 * all the same: `notRun` says why.
 *
 * @example
 * plan({ model: gpt2('small'), data: dummyData(), parallel: { data: 4, zero: 2 } })
 * plan(config, { machine: 'h100' }).best()
 *
 * @throws {LabError} with one line per problem when the configuration is not valid.
 */
export function plan(config: RunConfiguration, options: PlanOptions = {}): Plan {
  const name = options.machine ?? 'this';
  const changed = withSettings(config);
  const planned = planConfiguration(changed, () => {
    const machine = findMachine(name);
    if (machine === undefined) throw invalid([`machine is "${name}": allowed is ${machineNames.join(', ')}`]);
    return machine;
  });
  if ('problems' in planned) throw invalid(planned.problems);
  const { forecast, assumptions, notRun } = planned;
  return new Plan(changed as RunConfiguration, forecast, [...assumptions], [...notRun]);
}

function invalid(problems: readonly string[]): LabError {
  return new LabError({ message: 'The configuration is not valid', code: 'invalid-configuration', problems });
}

/** A job's forecast. As a cell's result it is shown as tables. */
export class Plan {
  /** What was planned: `train(plan.config)` runs it. */
  readonly config: RunConfiguration;
  /** Memory of the ranks of each pipeline stage. */
  readonly memory: readonly RankMemory[];
  /** Time of a step by part, s. */
  readonly seconds: StepSeconds;
  readonly tokensPerSecond: number;
  /** Model operations (6 a weight and token, and attention) over the peak of the devices. */
  readonly mfu: number;
  /** Share of the pipeline's time in which stages wait. */
  readonly bubble: number;
  /** Bytes that one device needs. */
  readonly deviceBytes: number;
  /** Whether the devices have that much memory. */
  readonly fits: boolean;
  /** Trainable parameters. */
  readonly parameters: number;
  /** Number of ranks. */
  readonly world: number;
  /** `batchSize 16 = data 2 x microBatches 4 x 2 sequences`. */
  readonly batch: string;
  /** What the configuration leaves open and was assumed. */
  readonly assumptions: readonly string[];
  /** What this version cannot run of it; empty when it can. */
  readonly notRun: readonly string[];
  readonly #forecast: Forecast;

  /** @internal Use `plan()`. */
  constructor(
    config: RunConfiguration,
    forecast: Forecast,
    assumptions: readonly string[],
    notRun: readonly string[],
  ) {
    const { job } = forecast;
    this.config = config;
    this.#forecast = forecast;
    this.memory = forecast.memory.map((one) => ({ ...one, ranks: ranksOfStage(job.layout, one.stage) }));
    this.seconds = forecast.seconds;
    this.tokensPerSecond = forecast.tokensPerSecond;
    this.mfu = forecast.mfu;
    this.bubble = forecast.bubble;
    this.deviceBytes = forecast.deviceBytes;
    this.fits = forecast.fits;
    this.parameters = forecast.parameters;
    this.world = worldSize(job.layout);
    this.batch = batchEquation(job);
    this.assumptions = assumptions;
    this.notRun = notRun;
  }

  /** The order in which pipeline stages work, as a picture. */
  schedule(): Schedule {
    return new Schedule(scheduleChart(this.#forecast.job));
  }

  /**
   * The quickest layouts of this model and batch that fit, as plans: `plan(config).best()[0].config` is one to train.
   *
   * @param options `ranks`: ranks to lay out, default as many as planned; `count`: layouts to find, default 5.
   */
  best(options: { ranks?: number; count?: number } = {}): Plan[] {
    const { job, machine } = this.#forecast;
    for (const key of ['ranks', 'count'] as const) {
      const value = options[key];
      if (value !== undefined && !(Number.isSafeInteger(value) && value >= 1))
        throw invalid([`${key} is ${value}: allowed are whole numbers of at least 1`]);
    }
    const found = bestLayouts(job, machine, options);
    const plans = found.map((one) => {
      const { parallel, training } = layoutSections(one.job);
      const config = { ...this.config, parallel, training: { ...this.config.training, ...training } };
      const planned = planConfiguration(config, () => machine);
      return new Plan(config, one, this.assumptions, 'problems' in planned ? [] : planned.notRun);
    });
    const show = (): MimeBundle => {
      if (found.length === 0) return { 'text/plain': NONE_FITS };
      const rows = layoutRows(found);
      return { 'text/plain': textTable(rows), 'text/html': htmlTable(rows) };
    };
    return Object.defineProperty(plans, DISPLAY, { value: show, enumerable: false });
  }

  /** As a cell's result: tables of memory and time. */
  [DISPLAY](): MimeBundle {
    const notes = [...this.assumptions, ...this.notRun];
    const head = describeJob(this.#forecast);
    const [memory, time] = [memoryRows(this.#forecast), timeRows(this.#forecast)];
    const [fit, speed] = [describeFit(this.#forecast), describeSpeed(this.#forecast)];
    const text = [
      head.join('\n'),
      `${textTable(memory)}\n${fit}`,
      `${textTable(time)}\n${speed}`,
      notes.join('\n'),
    ];
    const html = [
      paragraphs(head),
      htmlTable(memory),
      paragraphs([fit]),
      htmlTable(time),
      paragraphs([speed, ...notes]),
    ];
    return { 'text/plain': text.filter((part) => part !== '').join('\n\n'), 'text/html': html.join('') };
  }

  /** @internal In the console and in lists. */
  [inspect.custom](): string {
    return `${worldEquation(this.#forecast.job)}: ${describeSpeed(this.#forecast)}. ${describeFit(this.#forecast)}`;
  }
}

/** A pipeline schedule. As a cell's result it is drawn. */
export class Schedule {
  /** Each stage's operations, with start and end in units of a forward of one (virtual) stage. */
  readonly stages: ScheduleChart['timeline']['stages'];
  readonly #chart: ScheduleChart;

  /** @internal Use `plan().schedule()`. */
  constructor(chart: ScheduleChart) {
    this.stages = chart.timeline.stages;
    this.#chart = chart;
  }

  /** The picture's source. */
  get svg(): string {
    return chartSvg(this.#chart);
  }

  /** As a cell's result: the picture. */
  [DISPLAY](): MimeBundle {
    return { 'image/svg+xml': this.svg, 'text/plain': chartText(this.#chart, { color: false }) };
  }

  /** @internal In the console and in lists. */
  [inspect.custom](): string {
    return chartText(this.#chart, { color: false });
  }
}

function paragraphs(lines: readonly string[]): string {
  return lines.length === 0 ? '' : `<p>${lines.map(escapeHtml).join('<br>')}</p>`;
}
