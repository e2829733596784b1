/** Configurations from files and from `--set`. */
import { readFileSync } from 'node:fs';
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
  return applySettings(config, settings);
}

/** `config` with each `a.b=value` applied in order; a value that is not JSON is text. Throws UsageError. */
export function applySettings(config: unknown, settings: readonly string[]): unknown {
  const result = structuredClone(config);
  const problems = settings.flatMap((setting) => applySetting(result, setting));
  if (problems.length > 0) throw new UsageError(problems);
  return result;
}

function applySetting(config: unknown, setting: string): string[] {
  const equals = setting.indexOf('=');
  const keys = setting.slice(0, equals).split('.');
  if (equals < 0 || keys.some((key) => key === ''))
    return [`--set ${setting}: a key and a value are needed, as in --set training.steps=100`];
  let section = config;
  for (const [depth, key] of keys.entries()) {
    if (!isSection(section))
      return [`--set ${setting}: ${keys.slice(0, depth).join('.') || 'the configuration'} is no section`];
    // A key such as __proto__ must become an own key, which validation then names as unknown.
    const own = Object.hasOwn(section, key) ? section[key] : undefined;
    const value = depth === keys.length - 1 ? parseValue(setting.slice(equals + 1)) : (own ?? {});
    Object.defineProperty(section, key, { value, writable: true, enumerable: true, configurable: true });
    section = value;
  }
  return [];
}

function isSection(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parseValue(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text; // plain words need no quotes: --set data.tokenizer=char
  }
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
