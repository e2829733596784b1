/** Documentation comments as Markdown. */
import ts from 'typescript';

/** A symbol's documentation with its tags: parameters as a list, examples as code. */
export function documentationOf(symbol: {
  documentation?: ts.SymbolDisplayPart[] | undefined;
  tags?: ts.JSDocTagInfo[] | undefined;
}): string {
  const text = ts.displayPartsToString(symbol.documentation);
  const tags = (symbol.tags ?? []).map(tagText);
  return [text, tags.join('\n\n')].filter((part) => part !== '').join('\n\n');
}

function tagText({ name, text: parts }: ts.JSDocTagInfo): string {
  const text = ts.displayPartsToString(parts).trim();
  if (name === 'example' && text !== '') {
    const code = text.startsWith('```') ? text : `\`\`\`ts\n${text}\n\`\`\``;
    return `*@example*\n${code}`;
  }
  const subject = parts?.find(({ kind }) => kind === 'parameterName')?.text;
  if (subject === undefined) return text === '' ? `*@${name}*` : `*@${name}* ${text}`;
  const rest = text.slice(text.indexOf(subject) + subject.length).replace(/^\s*[-—–]?\s*/, '');
  return `*@${name}* \`${subject}\`${rest === '' ? '' : `: ${rest}`}`;
}
