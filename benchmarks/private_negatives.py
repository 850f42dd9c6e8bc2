"""Texts that look private and are not: prices, dates, article numbers, hours, versions, hashes, codes, measures."""

import random
from collections.abc import Callable

from private_values import ALPHANUMERIC, HEX, digits, drawn, grouped, luhn_digit


def _ean(rng: random.Random, count: int = 13) -> str:
    body = rng.choice("3479") + digits(rng, count - 2)
    total = sum(int(digit) * (3 if index % 2 == 0 else 1) for index, digit in enumerate(reversed(body)))
    return body + str(-total % 10)


def _date(rng: random.Random) -> tuple[int, int, int]:
    return rng.randint(1990, 2030), rng.randint(1, 12), rng.randint(1, 28)


def _company(rng: random.Random) -> str:
    """A Swedish company's registration number, which is public: its third digit is at least 2."""
    body = f"55{rng.randint(2, 9)}{digits(rng, 6)}"
    number = body + luhn_digit(body)
    return f"{number[:6]}-{number[6:]}"


def _thousands(rng: random.Random, by: str) -> str:
    return f"{rng.randint(1, 99)}{by}{digits(rng, 3)}{by}{digits(rng, 3)}"


_Make = Callable[[random.Random], str]
_DEVELOPED: tuple[_Make, ...] = (
    lambda rng: f"The kettle costs {rng.randint(100, 9999)}.{digits(rng, 2)} EUR, before it was {rng.randint(100, 9999)},00.",
    lambda rng: f"Huset kostar {_thousands(rng, ' ')} kr, och {_thousands(rng, ' ')} kr med tomt.",
    lambda rng: f"Das Haus kostet {_thousands(rng, '.')} Euro, mit Garten {_thousands(rng, '.')} Euro.",
    lambda rng: "We were closed on {}-{:02d}-{:02d} and open again on {}-{:02d}-{:02d}.".format(*_date(rng), *_date(rng)),
    lambda rng: "Sendt {2:02d}.{1:02d}.{0}, bezahlt {5:02d}.{4:02d}.{3}.".format(*_date(rng), *_date(rng)),
    lambda rng: "Backup {}{:02d}{:02d}{} is done.".format(*_date(rng), digits(rng, 6)),
    lambda rng: f"Open 0{rng.randint(7, 9)}:00-1{rng.randint(6, 9)}:30, Saturday 10-1{rng.randint(2, 6)}.",
    lambda rng: f"Öppet mån-fre 0{rng.randint(7, 9)}-1{rng.randint(6, 9)}, lör 10-1{rng.randint(3, 6)}, sön stängt.",
    lambda rng: f"Geöffnet Mo-Fr 0{rng.randint(7, 9)}.30-1{rng.randint(7, 9)}.00 Uhr.",
    lambda rng: f"Article no. {digits(rng, 4)}-{digits(rng, 6)} is sold out.",
    lambda rng: f"Artikelnummer {digits(rng, 10)} finns i lager.",
    lambda rng: f"Artikel-Nr. 0{digits(rng, 9)} ist ausverkauft.",
    lambda rng: f"Order {digits(rng, 10)} shipped with order {digits(rng, 12)}.",
    lambda rng: f"Din beställning {digits(rng, 8)} är klar, ordernummer {digits(rng, 11)}.",
    lambda rng: f"Bestellnummer 0{digits(rng, 10)} wurde versandt.",
    lambda rng: f"EAN {_ean(rng)} and EAN {_ean(rng)} are the same tea.",
    lambda rng: f"Barcode: {_ean(rng)}",
    lambda rng: f"Update to version {rng.randint(1, 20)}.{rng.randint(0, 30)}.{rng.randint(0, 30)}.{rng.randint(0, 300)} today.",
    lambda rng: f"commit {drawn(rng, HEX, 40)} fixes it, see {drawn(rng, HEX, 7)}.",
    lambda rng: f"sha256:{drawn(rng, HEX, 64)}",
    lambda rng: f"Shop at {rng.randint(40, 60)}.{digits(rng, 6)}, {rng.randint(5, 20)}.{digits(rng, 6)} on the map.",
    lambda rng: f"Mått {rng.randint(10, 99)}0x{rng.randint(10, 99)}0x{digits(rng, 3)} mm, vikt {rng.randint(1, 9)},{digits(rng, 3)} kg.",
    lambda rng: f"Reach {rng.randint(100, 999)} 000-{rng.randint(1000, 9999)} 000 people a year.",
    lambda rng: f"Enligt SFS {rng.randint(1990, 2025)}:{rng.randint(100, 1500)} och AFS {rng.randint(1990, 2025)}:{rng.randint(1, 40)}.",
    lambda rng: f"Org.nr {_company(rng)}, F-skatt finns.",
    lambda rng: f"Fakturanummer {digits(rng, 7)}{luhn_digit(digits(rng, 7))}, bankgiro {rng.randint(100, 999)}-{digits(rng, 4)}.",
    lambda rng: f"uuid {drawn(rng, HEX, 8)}-{drawn(rng, HEX, 4)}-4{drawn(rng, HEX, 3)}-a{drawn(rng, HEX, 3)}-{drawn(rng, HEX, 12)}",
    lambda rng: f"The printer is at 192.168.{rng.randint(0, 255)}.{rng.randint(1, 254)}, the gateway at 10.0.0.1.",
    lambda rng: f"https://shop.example/tea/green-matcha-{digits(rng, 6)}?page={rng.randint(1, 9)}&sort=price_asc",
    lambda rng: "Choose a password with at least 12 characters; never use password123 as your example password.",
    lambda rng: "api_key = YOUR_API_KEY, token: <your-token>, password: ********",
    lambda rng: f"Temperature {rng.randint(60, 95)}-{rng.randint(60, 95)} °C for 120-180 s, ratio 1:{rng.randint(10, 99)}.",
)
_HELD_OUT: tuple[_Make, ...] = (
    lambda rng: f"Between {rng.randint(10, 99)},{digits(rng, 3)} and {rng.randint(100, 999)},{digits(rng, 3)} USD a year, or ${digits(rng, 7)}.",
    lambda rng: f"Hyran är {rng.randint(5, 25)} {digits(rng, 3)}:- per månad, totalt {rng.randint(100, 999)} {digits(rng, 3)} kronor.",
    lambda rng: f"Umsatz {rng.randint(1, 9)}.{digits(rng, 3)}.{digits(rng, 3)},{digits(rng, 2)} € im Jahr {rng.randint(2000, 2025)}.",
    lambda rng: "Meeting {}/{}/{} {:02d}:{}".format(*_date(rng)[::-1], rng.randint(8, 17), rng.choice(("00", "15", "30"))),
    lambda rng: "{}-{:02d}-{:02d}T{:02d}:05:09.{}Z INFO started".format(*_date(rng), rng.randint(0, 23), digits(rng, 6)),
    lambda rng: f"Semester v. {rng.randint(20, 40)}-{rng.randint(41, 52)}, {rng.randint(2000, 2020)}-{rng.randint(2021, 2030)}.",
    lambda rng: f"Hours: 9-17 9-17 9-17 10-1{rng.randint(4, 8)} and 08.00-12.00 12.30-16.{rng.choice('03')}0.",
    lambda rng: f"Lunch 11.{rng.randint(10, 59)}-13.{rng.randint(10, 59)} varje dag, 365 dagar, {rng.randint(2000, 2025)}.",
    lambda rng: f"SKU {drawn(rng, 'ABCDEFGHJK', 3)}-{digits(rng, 5)}-{digits(rng, 3)} replaces {digits(rng, 5)}-{digits(rng, 3)}.",
    lambda rng: f"Reservdel {digits(rng, 3)}-{digits(rng, 3)}-{digits(rng, 4)} passar modell {drawn(rng, 'WXYZ', 2)}-{digits(rng, 4)}.",
    lambda rng: f"Teilenummer 0{digits(rng, 3)} {digits(rng, 3)} {digits(rng, 3)} passt nicht.",
    lambda rng: f"Your ticket #{digits(rng, 9)} was merged with #{digits(rng, 9)}.",
    lambda rng: f"Spåra paketet med kollinummer {digits(rng, 14)}SE eller 00{digits(rng, 18)}.",
    lambda rng: f"Sendungsnummer {digits(rng, 20)} ist unterwegs.",
    lambda rng: f"GTIN {_ean(rng, 14)}, UPC {_ean(rng, 12)}",
    lambda rng: f"ISBN 978-{rng.randint(0, 9)}-{digits(rng, 4)}-{digits(rng, 4)}-{rng.randint(0, 9)}, {rng.randint(100, 900)} pages",
    lambda rng: f"Chrome/{rng.randint(90, 140)}.0.{digits(rng, 4)}.{rng.randint(10, 200)} Safari/537.36",
    lambda rng: f"Firmware v{rng.randint(1, 9)}.{rng.randint(0, 9)}.{rng.randint(0, 9)}.{rng.randint(0, 9)}-{rng.randint(100, 999)} (build {digits(rng, 8)})",
    lambda rng: f"integrity=\"sha384-{drawn(rng, ALPHANUMERIC + '+/', 64)}\"",
    lambda rng: f"md5 {drawn(rng, HEX, 32)}  archive.tar.gz",
    lambda rng: f"geo:{rng.randint(40, 60)}.{digits(rng, 8)},{rng.randint(5, 20)}.{digits(rng, 8)};u={rng.randint(5, 50)}",
    lambda rng: f"N{rng.randint(50, 60)}°{rng.randint(10, 59)}'{rng.randint(10, 59)}\" E0{rng.randint(10, 18)}°{rng.randint(10, 59)}'{rng.randint(10, 59)}\"",
    lambda rng: f"Skruv M{rng.randint(3, 12)} x {rng.randint(10, 99)}, hål cc {rng.randint(100, 300)}-{rng.randint(301, 600)} mm, U-värde 0,{digits(rng, 2)}.",
    lambda rng: f"About {rng.randint(1, 9)} {digits(rng, 3)} {digits(rng, 3)} litres, {rng.randint(10, 99)} {digits(rng, 3)} m3, 1 000 000 m2.",
    lambda rng: f"§ {rng.randint(1, 900)} Abs. {rng.randint(1, 9)} BGB, Az. {rng.randint(1, 9)} O {rng.randint(100, 999)}/{rng.randint(10, 25)}, Rn. {rng.randint(10, 99)}",
    lambda rng: f"VAT SE{_company(rng).replace('-', '')}01, D-U-N-S {grouped(digits(rng, 9), 2, 3, 4, by='-')}",
    lambda rng: f"OCR {digits(rng, 9)}, plusgiro {rng.randint(10, 99)} {rng.randint(10, 99)} {rng.randint(10, 99)}-{rng.randint(0, 9)}",
    lambda rng: f"trace_id={drawn(rng, HEX, 32)} span={drawn(rng, HEX, 16)} took {digits(rng, 3)}.{digits(rng, 6)} ms",
    lambda rng: f"listen 127.0.0.1:{rng.randint(1024, 65535)}; subnet 255.255.255.0; mac ff:ff:ff:ff:ff:ff",
    lambda rng: f"https://video.example/watch?v={drawn(rng, ALPHANUMERIC, 11)}&t={rng.randint(10, 999)}s and @kim on 2x.png",
    lambda rng: "Reset your password: open Settings, choose Password, then enter a new one. The token is required.",
    lambda rng: 'password = os.environ["SHOP_PASSWORD"]; secret: ${SHOP_SECRET}; key: {{ api_key }}',
)
NEGATIVES = {"developed": _DEVELOPED, "held_out": _HELD_OUT}
