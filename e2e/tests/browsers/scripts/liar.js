// Makes every block that the page sends over data channels wrong by one bit, and counts them. What is no PIECE message (BEP 3:
// four bytes of length, 7, the piece, the offset, the block) goes as it is.
const send = RTCDataChannel.prototype.send;
window.lies = 0;
RTCDataChannel.prototype.send = function (data) {
    const given = ArrayBuffer.isView(data)
        ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);
    const bytes = given.slice();
    if (bytes.length > 13 && bytes[4] === 7 && new DataView(bytes.buffer).getUint32(0) > 9) {
        bytes[13] ^= 1;
        window.lies += 1;
    }
    return send.call(this, bytes);
};
