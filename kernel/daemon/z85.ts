/** Z85 (ZeroMQ RFC 32): the text form of CURVE keys. */
const ALPHABET = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#';

/** The bytes of a Z85 text; its length must be a multiple of 5. Throws a RangeError otherwise. */
export function z85Decode(text: string): Buffer {
  if (text.length % 5 !== 0)
    throw new RangeError(`A Z85 text of ${text.length} characters: allowed is a multiple of 5`);
  const bytes = Buffer.alloc((text.length / 5) * 4);
  for (let i = 0; i < text.length; i += 5) {
    let value = 0;
    for (const character of text.slice(i, i + 5)) {
      const digit = ALPHABET.indexOf(character);
      if (digit < 0) throw new RangeError(`${JSON.stringify(character)} is not a Z85 character`);
      value = value * 85 + digit;
    }
    bytes.writeUInt32BE(value, (i / 5) * 4);
  }
  return bytes;
}
