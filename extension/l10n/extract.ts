/** Collects the texts that the extension shows into `bundle.l10n.json`, from which translations are made: `node extract.ts`. */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';

const extension = join(import.meta.dirname, '..');

/** Where the collected texts are kept. */
export const BUNDLE = join(import.meta.dirname, 'bundle.l10n.json');

/** Every text that is passed to `l10n.t` or to a translating `t`, sorted. */
export function extractTexts(): string[] {
  const texts = new Set<string>();
  for (const file of readdirSync(extension, { recursive: true, encoding: 'utf8' })) {
    if (!file.endsWith('.ts') || file.endsWith('.test.ts')) continue;
    const source = readFileSync(join(extension, file), 'utf8');
    collect(ts.createSourceFile(file, source, ts.ScriptTarget.Latest), texts);
  }
  return [...texts].sort();
}

function collect(node: ts.Node, texts: Set<string>): void {
  if (ts.isCallExpression(node)) {
    const [text] = node.arguments;
    const name = ts.isPropertyAccessExpression(node.expression) ? node.expression.name : node.expression;
    const translates = ts.isMemberName(name) && ['t', '#t'].includes(name.text);
    if (translates && text && ts.isStringLiteralLike(text)) texts.add(text.text);
  }
  ts.forEachChild(node, (child) => collect(child, texts));
}

/** The bundle's content: in English every text is its own translation. */
export function bundleOf(texts: readonly string[]): string {
  return `${JSON.stringify(Object.fromEntries(texts.map((text) => [text, text])), null, 2)}\n`;
}

if (import.meta.main) writeFileSync(BUNDLE, bundleOf(extractTexts()));
