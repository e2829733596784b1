/** From a configuration to its forecast: validation, what had to be assumed, and what keeps this version from running it. */
import { resolveConfiguration } from '../../protocol/configuration-schema.ts';
import type { ResolvedConfiguration } from '../../protocol/configuration.ts';
import { forecast, type Forecast } from './forecast.ts';
import { jobOf, type Job } from './job.ts';
import { machines } from './machines.ts';
import type { Machine } from './machine.ts';
import { THIS_MACHINE, thisMachine } from './this-machine.ts';

/** A configuration with its forecast. */
export interface PlannedConfiguration {
  readonly config: ResolvedConfiguration;
  readonly forecast: Forecast;
  /** What the configuration leaves open. */
  readonly assumptions: readonly string[];
  /** What this version cannot run of it; empty when it can. */
  readonly notRun: readonly string[];
}

/** Names of all machines, this one first. */
export const machineNames: readonly string[] = [THIS_MACHINE, ...machines.map(({ name }) => name)];

/** The machine of that name; undefined when there is none. This one may have to be measured, which takes a second. */
export function findMachine(name: string): Machine | undefined {
  return name === THIS_MACHINE ? thisMachine() : machines.find((machine) => machine.name === name);
}

/** Plans a configuration, or tells every problem at once; the machine is looked up for a valid one only. */
export function planConfiguration(
  value: unknown,
  machine: () => Machine,
): PlannedConfiguration | { problems: string[] } {
  const resolved = resolveConfiguration(value, 'plan');
  if ('problems' in resolved) return resolved;
  const { job, assumptions } = jobOf(resolved.config);
  const run = resolveConfiguration(value, 'run');
  return {
    config: resolved.config,
    forecast: forecast(job, machine()),
    assumptions,
    notRun: 'problems' in run ? run.problems : [],
  };
}

/** The sections of a configuration that give another layout. */
export function layoutSections({ layout }: Job): {
  parallel: Omit<Job['layout'], 'activationCheckpointing'>;
  training: { activationCheckpointing: boolean };
} {
  const { activationCheckpointing, ...parallel } = layout;
  return { parallel, training: { activationCheckpointing } };
}
