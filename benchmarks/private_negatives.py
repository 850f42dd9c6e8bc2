"""Texts that look private and are not: prices, dates, article numbers, hours, versions, hashes, codes, measures."""

import random
import re

from private_values import ALPHANUMERIC, HEX, digits, drawn, luhn_digit

_DEVELOPED = """
The kettle costs <100-9999>.<#2> EUR, before it was <100-9999>,00.
Huset kostar <1-99> <#3> <#3> kr, och <1-99> <#3> <#3> kr med tomt.
Das Haus kostet <1-99>.<#3>.<#3> Euro, mit Garten <1-99>.<#3>.<#3> Euro.
We were closed on <year>-<month>-<day> and open again on <year>-<month>-<day>.
Sendt <day>.<month>.<year>, bezahlt <day>.<month>.<year>.
Backup <year><month><day><#6> is done.
Open 0<7-9>:00-1<6-9>:30, Saturday 10-1<2-6>.
Öppet mån-fre 0<7-9>-1<6-9>, lör 10-1<3-6>, sön stängt.
Geöffnet Mo-Fr 0<7-9>.30-1<7-9>.00 Uhr.
Article no. <#4>-<#6> is sold out.
Artikelnummer <#10> finns i lager.
Artikel-Nr. 0<#9> ist ausverkauft.
Order <#10> shipped with order <#12>.
Din beställning <#8> är klar, ordernummer <#11>.
Bestellnummer 0<#10> wurde versandt.
EAN <ean13> and EAN <ean13> are the same tea.
Barcode: <ean13>
Update to version <1-20>.<0-30>.<0-30>.<0-300> today.
commit <hex40> fixes it, see <hex7>.
sha256:<hex64>
Shop at <40-60>.<#6>, <5-20>.<#6> on the map.
Mått <10-99>0x<10-99>0x<#3> mm, vikt <1-9>,<#3> kg.
Reach <100-999> 000-<1000-9999> 000 people a year.
Enligt SFS <year>:<100-1500> och AFS <year>:<1-40>.
Org.nr <company>, F-skatt finns.
Fakturanummer <luhn8>, bankgiro <100-999>-<#4>.
uuid <hex8>-<hex4>-4<hex3>-a<hex3>-<hex12>
The printer is at 192.168.<0-255>.<1-254>, the gateway at 10.0.0.1.
https://shop.example/tea/green-matcha-<#6>?page=<1-9>&sort=price_asc
Choose a password with at least 12 characters; never use password123 as your example password.
api_key = YOUR_API_KEY, token: <your-token>, password: ********
Temperature <60-95>-<60-95> °C for 120-180 s, ratio 1:<10-99>.
"""
_HELD_OUT = """
Between <10-99>,<#3> and <100-999>,<#3> USD a year, or $<#7>.
Hyran är <5-25> <#3>:- per månad, totalt <100-999> <#3> kronor.
Umsatz <1-9>.<#3>.<#3>,<#2> € im Jahr <year>.
Meeting <day>/<month>/<year> <10-17>:15
<year>-<month>-<day>T<10-23>:05:09.<#6>Z INFO started
Semester v. <20-40>-<41-52>, <2000-2020>-<2021-2030>.
Hours: 9-17 9-17 9-17 10-1<4-8> and 08.00-12.00 12.30-16.<0-3>0.
Lunch 11.<10-59>-13.<10-59> varje dag, 365 dagar, <year>.
SKU ABK-<#5>-<#3> replaces <#5>-<#3>.
Reservdel <#3>-<#3>-<#4> passar modell WX-<#4>.
Teilenummer 0<#3> <#3> <#3> passt nicht.
Your ticket #<#9> was merged with #<#9>.
Spåra paketet med kollinummer <#14>SE eller 00<#18>.
Sendungsnummer <#20> ist unterwegs.
GTIN <ean14>, UPC <ean12>
ISBN 978-<0-9>-<#4>-<#4>-<0-9>, <100-900> pages
Chrome/<90-140>.0.<#4>.<10-200> Safari/537.36
Firmware v<1-9>.<0-9>.<0-9>.<0-9>-<100-999> (build <#8>)
integrity="sha384-<any64>"
md5 <hex32>  archive.tar.gz
geo:<40-60>.<#8>,<5-20>.<#8>;u=<5-50>
N<50-60>°<10-59>'<10-59>" E0<10-18>°<10-59>'<10-59>"
Skruv M<3-12> x <10-99>, hål cc <100-300>-<301-600> mm, U-värde 0,<#2>.
About <1-9> <#3> <#3> litres, <10-99> <#3> m3, 1 000 000 m2.
§ <1-900> Abs. <1-9> BGB, Az. <1-9> O <100-999>/<10-25>, Rn. <10-99>
VAT SE<luhn10>01, D-U-N-S <#2>-<#3>-<#4>
OCR <#9>, plusgiro <10-99> <10-99> <10-99>-<0-9>
trace_id=<hex32> span=<hex16> took <#3>.<#6> ms
listen 127.0.0.1:<1024-65535>; subnet 255.255.255.0; mac ff:ff:ff:ff:ff:ff
https://video.example/watch?v=<any11>&t=<10-999>s and @kim on 2x.png
Reset your password: open Settings, choose Password, then enter a new one. The token is required.
password = os.environ["SHOP_PASSWORD"]; secret: ${SHOP_SECRET}; key: {{ api_key }}
"""
NEGATIVES = {"developed": _DEVELOPED.strip().split("\n"), "held_out": _HELD_OUT.strip().split("\n")}
_BLANK = re.compile(r"<(?:#(?P<digits>\d+)|(?P<low>\d+)-(?P<high>\d+)|(?P<name>[a-z]+)(?P<length>\d*))>")


def harmless(half: str, number: int, rng: random.Random) -> str:
    """Text `number` of a half, its blanks filled at random."""
    templates = NEGATIVES[half]
    return _BLANK.sub(lambda blank: _filled(blank, rng), templates[number % len(templates)])


def _filled(blank: re.Match[str], rng: random.Random) -> str:
    if blank["digits"]:
        return digits(rng, int(blank["digits"]))
    if blank["low"]:
        return str(rng.randint(int(blank["low"]), int(blank["high"])))
    length = int(blank["length"] or 0)
    match blank["name"]:
        case "year":
            return str(rng.randint(1990, 2030))
        case "month":
            return f"{rng.randint(1, 12):02d}"
        case "day":
            return f"{rng.randint(1, 28):02d}"
        case "hex":
            return drawn(rng, HEX, length)
        case "any":
            return drawn(rng, ALPHANUMERIC, length)
        case "luhn":
            return _with_luhn(digits(rng, length - 1))
        case "ean":
            return _ean(rng, length)
        case "company":  # public, and told from a person's number by its third digit
            number = _with_luhn(f"55{rng.randint(2, 9)}{digits(rng, 6)}")
            return f"{number[:6]}-{number[6:]}"
    return blank.group()


def _with_luhn(body: str) -> str:
    return body + luhn_digit(body)


def _ean(rng: random.Random, length: int) -> str:
    """An article number with its check digit (GS1 General Specifications, 7.9)."""
    body = rng.choice("3479") + digits(rng, length - 2)
    total = sum(int(digit) * (3 if index % 2 == 0 else 1) for index, digit in enumerate(reversed(body)))
    return body + str(-total % 10)
