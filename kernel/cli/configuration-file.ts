/** Configurations from files and from `--set`. */
import { readFileSync } from 'node:fs';
import { applySettings, isSection } from '../lab/settings.ts';
import { UsageError } from './arguments.ts';

/** The JSON of a configuration file with `settings` (`training.steps=10`) applied. Throws UsageError. */
export function readConfiguration(file: string, settings: readonly string[]): unknown {
  let source: string;
  try {
    source = readFileSync(file, 'utf8');
  } catch (error) {
    throw new UsageError([`${file} cannot be read: ${(error as Error).message}`]);
  }
  let config: unknown;
  try {
    config = JSON.parse(source.replace(/^\uFEFF/, ''));
  } catch (error) {
    throw new UsageError([`${file} is not JSON: ${(error as Error).message}`]);
  }
  const applied = applySettings(config, settings);
  if ('problems' in applied) throw new UsageError(applied.problems);
  return applied.config;
}

/** Keys at which two configurations differ, as `training.steps (100, not 200)`: in `a`, not in `b`. */
export function differences(a: unknown, b: unknown, path = ''): string[] {
  if (isSection(a) && isSection(b)) {
    const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])];
    return keys.flatMap((key) => differences(a[key], b[key], path === '' ? key : `${path}.${key}`));
  }
  const [left, right] = [a, b].map((value) => (value === undefined ? 'absent' : JSON.stringify(value)));
  return left === right ? [] : [`${path} (${left ?? ''}, not ${right ?? ''})`];
}
