/** Single keys of a configuration changed by text: `training.steps=100`. */

/** Environment variable with settings, a JSON list, for every run that a notebook starts. */
export const SETTINGS_VARIABLE = 'GPT_LAB_SET';

/** A copy of `config` with each `a.b=value` applied in order, or what is wrong with them; a value that is not JSON is text. */
export function applySettings(
  config: unknown,
  settings: readonly string[],
): { config: unknown } | { problems: string[] } {
  const result = structuredClone(config);
  const problems = settings.flatMap((setting) => applySetting(result, setting));
  return problems.length > 0 ? { problems } : { config: result };
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

/** Whether a value is an object with keys of its own. */
export function isSection(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function parseValue(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text; // plain words need no quotes: --set data.tokenizer=char
  }
}

/** The configuration as whoever runs the notebook wants it: `gpt-lab notebook run --set training.steps=10`. */
export function withSettings(config: unknown): unknown {
  const settings = process.env[SETTINGS_VARIABLE];
  if (settings === undefined) return config;
  const applied = applySettings(config, JSON.parse(settings) as string[]);
  if ('problems' in applied) throw new Error(applied.problems.join('\n'));
  return applied.config;
}
