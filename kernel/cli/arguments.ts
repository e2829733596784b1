/** Command lines: what a command takes, its help, and all that is wrong with what was typed. */
import { parseArgs } from 'node:util';

/** One option of a command. */
export interface OptionSpec {
  readonly type: 'flag' | 'text' | 'number' | 'integer';
  /** What the option does; one line of the help. */
  readonly help: string;
  /** Placeholder for the value in the help. */
  readonly value?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  /** What a text may be. */
  readonly choices?: readonly string[];
  readonly required?: true;
  /** May be given several times. */
  readonly many?: true;
}

export type OptionSpecs = Readonly<Record<string, OptionSpec>>;

type ValueOf<S extends OptionSpec> = S['type'] extends 'flag'
  ? boolean
  : S extends { many: true }
    ? string[]
    : (S['type'] extends 'text' ? string : number) | (S extends { required: true } ? never : undefined);

/** Values by option name; a flag that was not given is false, an option that may be repeated an empty list. */
export type OptionValues<O extends OptionSpecs> = { readonly [K in keyof O]: ValueOf<O[K]> };

/** What follows the options; a name that ends in `?` may be left out. */
export type PositionalNames = readonly string[];

/** Everything that is wrong with a command line or a configuration: exit status 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

/** Options and positionals of `argv`. Throws UsageError with every problem at once. */
export function parseArguments<O extends OptionSpecs>(
  argv: readonly string[],
  options: O,
  positionalNames: PositionalNames,
): { values: OptionValues<O>; positionals: string[] } {
  const { tokens, positionals } = parseArgs({
    args: [...argv],
    options: Object.fromEntries(
      Object.entries(options).map(([name, { type }]) => [
        name,
        { type: type === 'flag' ? 'boolean' : 'string' },
      ]),
    ),
    allowPositionals: true,
    strict: false,
    tokens: true,
  });

  const problems: string[] = [];
  const given = new Map<string, string[]>();
  for (const token of tokens) {
    if (token.kind !== 'option') continue;
    const spec = Object.hasOwn(options, token.name) ? options[token.name] : undefined;
    if (!spec) {
      problems.push(`${token.rawName} is no option of this command: ${optionList(options)}`);
    } else if (spec.type === 'flag') {
      if (token.value !== undefined) problems.push(`${token.rawName} takes no value, not "${token.value}"`);
      given.set(token.name, []);
    } else if (token.inlineValue === false && token.value.startsWith('--')) {
      // Most likely the next option: a value that begins so is written with an equals sign.
      problems.push(`${token.rawName} needs a value: ${token.rawName}=${token.value} if that is meant`);
    } else if (token.value === undefined) {
      problems.push(`${token.rawName} needs a value: ${token.rawName} ${spec.value ?? 'VALUE'}`);
      given.set(token.name, []);
    } else {
      const values = given.get(token.name) ?? [];
      if (values.length > 0 && !spec.many)
        problems.push(`${token.rawName} is given more than once: give it once`);
      given.set(token.name, [...values, token.value]);
    }
  }

  const values: Record<string, unknown> = {};
  for (const [name, spec] of Object.entries(options)) {
    const texts = given.get(name);
    if (spec.type === 'flag') values[name] = texts !== undefined;
    else if (spec.many) values[name] = texts ?? [];
    else if (texts?.[0] !== undefined) values[name] = readValue(name, texts[0], spec, problems);
    else if (spec.required && !texts) problems.push(`--${name} ${spec.value ?? 'VALUE'} is missing`);
  }
  checkPositionals(positionals, positionalNames, problems);
  if (problems.length > 0) throw new UsageError(problems);
  return { values: values as OptionValues<O>, positionals };
}

function readValue(name: string, text: string, spec: OptionSpec, problems: string[]): string | number {
  if (spec.type === 'text') {
    if (spec.choices && !spec.choices.includes(text))
      problems.push(`--${name} is "${text}": allowed is ${spec.choices.join(' or ')}`);
    return text;
  }
  const { minimum = -Infinity, maximum = Infinity } = spec;
  const value = text.trim() === '' ? NaN : Number(text);
  const kind = spec.type === 'integer' ? 'a whole number' : 'a number';
  const valid = spec.type === 'integer' ? Number.isSafeInteger(value) : Number.isFinite(value);
  if (!valid || value < minimum || value > maximum) {
    const range = [
      minimum > -Infinity ? `from ${minimum}` : '',
      maximum < Infinity ? `to ${maximum}` : '',
    ].filter((part) => part !== '');
    problems.push(`--${name} is "${text}": ${[kind, ...range].join(' ')} is needed`);
  }
  return value;
}

function checkPositionals(positionals: readonly string[], names: PositionalNames, problems: string[]): void {
  for (const name of names.slice(positionals.length))
    if (!name.endsWith('?')) problems.push(`${name} is missing`);
  for (const extra of positionals.slice(names.length)) problems.push(`"${extra}" is one argument too many`);
}

function optionList(options: OptionSpecs): string {
  return Object.keys(options)
    .map((name) => `--${name}`)
    .join(', ');
}

/** The options as lines of help. */
export function describeOptions(options: OptionSpecs): string {
  const rows = Object.entries(options).map(([name, spec]): [string, string] => [
    `  --${name}${spec.type === 'flag' ? '' : ` ${spec.value ?? 'VALUE'}`}`,
    spec.help + (spec.many ? ' (may be repeated)' : ''),
  ]);
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, help]) => `${left.padEnd(width)}  ${help}`).join('\n');
}
