// Tokens as jsonwebtoken makes them: a line of JSON for each algorithm, with the public key in PEM or the secret.
const { generateKeyPairSync } = require('crypto');
const { sign } = require('jsonwebtoken');

const curves = { ES256: 'prime256v1', ES384: 'secp384r1', ES512: 'secp521r1' };
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
for (const algorithm of 'HS256 HS384 HS512 RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512'.split(' ')) {
  const line = { algorithm, key: 'js-' + algorithm };
  let secret = (line.secret = 'a secret of jsonwebtoken that is long enough for every one of the three algorithms');
  if (!algorithm.startsWith('HS')) {
    const pair = curves[algorithm] ? generateKeyPairSync('ec', { namedCurve: curves[algorithm] }) : rsa;
    delete line.secret;
    line.pem = pair.publicKey.export({ type: 'spki', format: 'pem' });
    secret = pair.privateKey;
  }
  line.token = sign({ iss: line.key }, secret, { algorithm, expiresIn: 600 });
  line.late = sign({ iss: line.key }, secret, { algorithm, expiresIn: -1 });
  console.log(JSON.stringify(line));
}
