// bittorrent-tracker's server on a free port, over WebSockets alone. Says its port, and ends with its standard input.
import Server from 'bittorrent-tracker/server'

const server = new Server({ udp: false, http: true, ws: true, stats: true })
server.on('error', (error) => { console.error(error); process.exit(1) })
server.on('warning', (warning) => console.error(String(warning)))
server.listen(0, '127.0.0.1', () => console.log(server.http.address().port))
process.stdin.on('end', () => process.exit(0)).resume()
