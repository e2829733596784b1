/** `gpt-lab plan`: validates a configuration and forecasts its memory and time; starts nothing. */
import {
  NONE_FITS,
  describeFit,
  describeJob,
  describeSpeed,
  layoutRows,
  memoryRows,
  ranksOfStage,
  timeRows,
} from '../lab/plan-text.ts';
import { textTable } from '../lab/table.ts';
import { chartText, scheduleChart } from '../parallel/plan/chart.ts';
import type { Forecast } from '../parallel/plan/forecast.ts';
import { batchEquation, worldEquation, worldSize } from '../parallel/plan/job.ts';
import {
  findMachine,
  layoutSections,
  machineNames,
  planConfiguration,
  type PlannedConfiguration,
} from '../parallel/plan/plan.ts';
import { bestLayouts } from '../parallel/plan/search.ts';
import { THIS_MACHINE } from '../parallel/plan/this-machine.ts';
import { UsageError } from './arguments.ts';
import { defineCommand, EXIT, note, print, printJson } from './command.ts';
import { readConfiguration } from './configuration-file.ts';

export const plan = defineCommand({
  name: 'plan',
  summary: 'Check a configuration and forecast memory per rank and time per step; start nothing',
  notes: [
    'What cannot be run by this version can be planned all the same. A machine of the library stands for as many of its GPUs as',
    'there are ranks; `this` is measured once (`gpt-lab bench machine` measures anew), and its ranks share it.',
    'docs/planner.md tells how the figures come about and how near they are to published ones.',
  ].join('\n'),
  positionals: ['CONFIG.json'],
  options: {
    set: { type: 'text', value: 'a.b=value', many: true, help: 'change one key of the configuration' },
    machine: {
      type: 'text',
      value: 'NAME',
      choices: machineNames,
      help: `${machineNames.join(', ')} (${THIS_MACHINE})`,
    },
    schedule: { type: 'flag', help: 'draw the pipeline schedule' },
    best: { type: 'flag', help: 'find the quickest layouts that fit' },
    ranks: {
      type: 'integer',
      value: 'N',
      minimum: 1,
      maximum: 65_536,
      help: 'with --best: ranks to lay out (those of the configuration)',
    },
  },
  run({ values, positionals: [file = ''] }) {
    if (values.ranks !== undefined && !values.best)
      throw new UsageError([`--ranks is ${values.ranks}: allowed only with --best`]);
    const name = values.machine ?? THIS_MACHINE;
    const planned = planConfiguration(readConfiguration(file, values.set), () => {
      const machine = findMachine(name);
      if (machine === undefined)
        throw new UsageError([`--machine is "${name}": allowed is ${machineNames.join(', ')}`]);
      return machine;
    });
    if ('problems' in planned) throw new UsageError(planned.problems);
    const search = values.ranks === undefined ? {} : { ranks: values.ranks };
    const { job, machine } = planned.forecast;
    const best = values.best ? bestLayouts(job, machine, search) : undefined;
    if (values.json) printJson(asJson(planned, best, values.schedule));
    else show(planned, best, { schedule: values.schedule, ranks: values.ranks });
    return Promise.resolve(EXIT.done);
  },
});

function show(
  { forecast, assumptions, notRun }: PlannedConfiguration,
  best: readonly Forecast[] | undefined,
  options: { schedule: boolean; ranks: number | undefined },
): void {
  print(describeJob(forecast).join('\n'));
  print(`\nMemory per rank\n${textTable(memoryRows(forecast))}\n${describeFit(forecast)}`);
  print(`\nTime per step\n${textTable(timeRows(forecast))}\n${describeSpeed(forecast)}`);
  if (options.schedule) {
    const color = process.stdout.isTTY && process.env['NO_COLOR'] === undefined;
    print(`\nSchedule ${forecast.job.layout.schedule}\n${chartText(scheduleChart(forecast.job), { color })}`);
  }
  if (best !== undefined) {
    const ranks = options.ranks ?? worldSize(forecast.job.layout);
    print(`\nQuickest layouts of ${ranks} rank${ranks === 1 ? '' : 's'}`);
    print(best.length > 0 ? textTable(layoutRows(best)) : NONE_FITS);
  }
  for (const line of assumptions) note(line);
  for (const line of notRun) note(line);
}

/** What `--json` prints; bytes, seconds, shares from 0 to 1. */
function asJson(
  { forecast, assumptions, notRun }: PlannedConfiguration,
  best: readonly Forecast[] | undefined,
  withSchedule: boolean,
): Record<string, unknown> {
  const { job, machine, memory } = forecast;
  return {
    parameters: forecast.parameters,
    world: worldSize(job.layout),
    worldEquation: worldEquation(job),
    batchEquation: batchEquation(job),
    machine: machine.name,
    machineTitle: machine.title,
    memory: memory.map((one) => ({ ...one, ranks: ranksOfStage(job.layout, one.stage) })),
    deviceBytes: forecast.deviceBytes,
    deviceMemory: machine.memory,
    fits: forecast.fits,
    seconds: forecast.seconds,
    tokensPerSecond: forecast.tokensPerSecond,
    mfu: forecast.mfu,
    bubble: forecast.bubble,
    assumptions,
    runnable: notRun.length === 0,
    notRun,
    ...(withSchedule ? { schedule: scheduleChart(job) } : {}),
    ...(best === undefined
      ? {}
      : {
          best: best.map((one) => ({
            ...layoutSections(one.job),
            seconds: one.seconds,
            tokensPerSecond: one.tokensPerSecond,
            mfu: one.mfu,
            deviceBytes: one.deviceBytes,
          })),
        }),
  };
}
