/** Commands that use a trained model: generate, evaluate. */
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { DaemonClient } from '../daemon/client.ts';
import { ask } from '../lab/connection.ts';
import { formatCount } from '../protocol/format.ts';
import { defineCommand, EXIT, note, print, printJson } from './command.ts';
import { lookUp } from './runs.ts';

/** A run's id, or the absolute path of a checkpoint directory. */
async function target(client: DaemonClient, wanted: string): Promise<string> {
  if (statSync(wanted, { throwIfNoEntry: false })?.isDirectory()) return resolve(wanted);
  return (await lookUp(client, wanted)).run;
}

/** Options that are sent as they are; the daemon has the defaults. */
const SAMPLING = ['tokens', 'temperature', 'topK', 'topP', 'seed'] as const;

export const generate = defineCommand({
  name: 'generate',
  summary: 'Let a run’s model, or one of a checkpoint directory, continue a text',
  positionals: ['RUN|DIRECTORY'],
  options: {
    prompt: { type: 'text', value: 'TEXT', required: true, help: 'the text to continue' },
    tokens: { type: 'integer', value: 'N', minimum: 1, maximum: 100_000, help: 'tokens to generate (100)' },
    temperature: {
      type: 'number',
      value: 'T',
      minimum: 0,
      maximum: 100,
      help: 'below 1 safer, above 1 wilder, 0 the likeliest (0.8)',
    },
    topK: {
      type: 'integer',
      value: 'K',
      minimum: 0,
      help: 'choose among the K likeliest tokens; 0 = all (0)',
    },
    topP: {
      type: 'number',
      value: 'P',
      minimum: 1e-9,
      maximum: 1,
      help: 'choose among the likeliest that have probability P together (1)',
    },
    seed: { type: 'integer', value: 'S', help: 'the same seed gives the same text (42)' },
  },
  async run({ values, positionals: [wanted = ''] }) {
    const { json, prompt } = values;
    const sampling = Object.fromEntries(
      SAMPLING.map((key) => [key, values[key]] as const).filter(([, value]) => value !== undefined),
    );
    const result = await ask(async (client) => {
      const to = await target(client, wanted);
      if (!json) process.stdout.write(prompt);
      return client.request(
        'generate',
        { target: to, prompt, ...sampling },
        {
          onProgress: (progress) => {
            if (!json) process.stdout.write((progress as { text: string }).text);
          },
        },
      );
    });
    if (json) {
      printJson({ prompt, ...result });
    } else {
      process.stdout.write('\n');
      const rate = result.seconds > 0 ? `, ${formatCount(result.tokens / result.seconds)} tokens/s` : '';
      note(`${result.tokens} tokens in ${result.seconds.toFixed(1)} s${rate}`);
    }
    return EXIT.done;
  },
});

export const evaluate = defineCommand({
  name: 'evaluate',
  summary: 'Measure a model on a text file: cross-entropy (nats per token) and perplexity',
  positionals: ['RUN|DIRECTORY'],
  options: { text: { type: 'text', value: 'FILE', required: true, help: 'the text file (UTF-8)' } },
  async run({ values, positionals: [wanted = ''] }) {
    const result = await ask(async (client) =>
      client.request('evaluate', { target: await target(client, wanted), text: resolve(values.text) }),
    );
    if (values.json) printJson(result);
    else
      print(
        `loss ${result.loss.toFixed(4)} nats per token, perplexity ${result.perplexity.toPrecision(4)}, ${result.tokens} tokens`,
      );
    return EXIT.done;
  },
});
